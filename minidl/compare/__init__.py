"""The main job, ``minidl compare``: ``experiment`` does it, ``report`` says what came out, ``page`` and
``picture`` show it."""
