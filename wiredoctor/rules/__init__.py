"""The rules: a folder per family, a file per rule. `shared` holds what several rules need; `wiredoctor.rule_engine` runs them."""
