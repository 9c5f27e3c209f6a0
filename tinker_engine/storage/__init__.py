"""What outlives a process: the database of sessions, runs, futures, checkpoints and samplers, and
the checkpoint folders on disk.

Invariants: a checkpoint folder is either complete or absent, and its digest file is checked before
it is used; database rows are written in immediate transactions and migrated by numbered revisions.
"""
