"""HTTP in front of an engine: routes under `/api/v1` as the Tinker SDK calls them, and auth.

Routes parse, call one method of the engine, and format; they decide nothing.
"""
