"""The command line, and what it takes to run a fleet: ports, emulators, screens. The library is `tinyfed`."""
