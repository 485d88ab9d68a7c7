"""The experiment file: TOML with the lines of its keys, what each key may be, and checks of sections together."""
