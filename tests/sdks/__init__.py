"""Every client library that agents use, made to fail for real: run in `.venv-sdks`, see `runner.py`."""
