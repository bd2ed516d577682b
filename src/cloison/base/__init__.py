"""What every layer may use: errors, units, ids, paths, log. No layer below this one."""
