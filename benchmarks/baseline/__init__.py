"""A plain implementation of the same networks, to measure the zoo against: eager PyTorch, with the same weights.

It is written as most training scripts are. Outputs, gradients, updates and samples equal those of the zoo
(``tests/benchmarks/test_baseline.py``). What differs:

- Attention is two ``einsum`` with the softmax between them, on 1x1 convolutions; here fused, on Linear layers.
- Conditions (text projection, keys and values of the text, classes) are encoded in every forward; here once per prompt.
- The activation of the time embedding is computed by every block; here once per level.
- Schedules are read into tensors of the size of the images; here one number per row is broadcast.
- AdamW and the moving average loop over the parameters; here they are fused.
- The loss of each level is read by ``item()`` in every step; here all numbers in one transfer.
- All activations are saved for the backward pass; here blocks may be computed again (off by default).
- The weights are initialized, also if a checkpoint is loaded next; here they are only allocated.
- Images are read one by one with Pillow and converted one by one.
"""
