"""Record two entries in MLflow and compare them there and in a report.

In the shell: zoo track doll-n32 flat-n32; zoo dashboard doll-n32 flat-n32; zoo compare doll-n32 flat-n32 -o report.html
"""

import os
import tempfile
from pathlib import Path

import zoo
from registry.comparison.compare import compare_entries
from registry.comparison.html_report import write_report
from registry.tracking.entry_runs import record_entry
from registry.tracking.store import connect, sqlite_uri, tracking_uri

folder = Path(tempfile.mkdtemp())
# Any MLflow store can be used. Without the variable it is mlflow.db in the working folder.
os.environ.setdefault("MLFLOW_TRACKING_URI", sqlite_uri(folder / "mlflow.db"))

NAMES = ["doll-n32", "flat-n32"]

# 1. One run per entry, with its costs as metrics and its choices as parameters.
client = connect(tracking_uri())
for name in NAMES:
    recorded = record_entry(client, zoo.get(name))
    metrics = client.get_run(recorded.run_id).data.metrics
    print(f"{name}: {metrics['params']:,.0f} parameters, {metrics['flops'] / 1e6:.0f} MFLOPs per forward pass")

# 2. Search runs as in any MLflow store.
experiments = [experiment.experiment_id for experiment in client.search_experiments()]
cheap = client.search_runs(experiments, "metrics.params < 3000000", order_by=["metrics.flops ASC"])
print("by FLOPs:", ", ".join(run.info.run_name for run in cheap))

# 3. A report that needs no server.
print("report:", write_report(compare_entries(NAMES), folder / "report.html"))
