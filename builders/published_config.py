def from_config(config, text_width=None): raise SystemExit
