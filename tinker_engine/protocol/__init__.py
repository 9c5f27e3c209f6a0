"""The wire vocabulary of the Tinker API: paths, request models, metadata keys and codecs.

Nothing here knows torch, a database or HTTP routing; bytes and JSON come in, frozen records of
`tinker_engine.runtime.records` go out, and the other way round.
"""
