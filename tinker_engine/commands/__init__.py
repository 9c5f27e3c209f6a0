"""Commands of `tinker-engine` beside `serve`: a module each, mounted by `tinker_engine.cli`."""
