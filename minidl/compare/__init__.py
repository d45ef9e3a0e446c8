"""The main job, ``minidl compare``: ``experiment`` does it, ``report`` says what came out, ``page`` and
``picture`` show it."""

# What is timed of the whole network: its name in the report, in words, and the engine's entry that gets its median.
MODEL_TIMES = (
    ("epoch", "train one epoch", "epoch_seconds"),
    ("one_row", "predict one row", "predict_seconds"),
    ("test_set", "predict the test set", "predict_test_set_seconds"),
)
