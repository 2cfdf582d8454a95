#!/usr/bin/env python3
"""Asks an Argo CD health script about objects, as Argo CD does: in Lua 5.1, with the few libraries that it gives to one.

Usage: argocd_health.py HEALTH_LUA FILE...     one object in YAML or JSON in each file

Prints the health of each object as a line of JSON: {"message": ..., "status": ...}. Exits with 1 and a traceback when the script
fails, or gives something that Argo CD would show as Unknown.
"""

import json
import sys

import yaml
from lupa.lua51 import LuaRuntime, lua_type

STATES = {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

# argo-cd util/lua/lua.go opens package, base, table and a part of os. Without string, strings have no methods either.
WITHHOLD = """
getmetatable("").__index = nil
for _, name in ipairs({"string", "math", "io", "debug", "coroutine", "python"}) do
  _G[name] = nil
  package.loaded[name] = nil
end
os = {time = os.time, date = os.date}
package.loaded.os = os
"""


def to_lua(lua, value):
    """Argo CD's decodeValue: null is absent, a list is a table that counts from one."""
    if isinstance(value, dict):
        return lua.table_from({key: to_lua(lua, item) for key, item in value.items() if item is not None})
    if isinstance(value, list):
        return lua.table_from([to_lua(lua, item) for item in value])
    # YAML makes a time of what Kubernetes hands out as a string: it has to be in quotes.
    assert isinstance(value, (str, bool, int, float)), f"{value!r} is not what Kubernetes would give"
    return value


def judge(script, thing):
    # Each object gets a Lua of its own, as in Argo CD: nothing that a script leaves behind counts.
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    lua.execute(WITHHOLD)
    lua.globals().obj = to_lua(lua, thing)
    said = lua.execute(script)
    assert lua_type(said) == "table", f"the script gives {said!r}, and not a table"
    health = dict(said.items())
    assert set(health) <= {"status", "message"} and health.get("status") in STATES, health
    return health


def main(script, *files):
    with open(script, encoding="utf-8") as file:
        source = file.read()
    for name in files:
        with open(name, encoding="utf-8") as file:
            print(json.dumps(judge(source, yaml.safe_load(file)), sort_keys=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
