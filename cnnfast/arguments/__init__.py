"""Checks of the operators' arguments, a module a family: what `cnnfast.ops` and `cnnfast.reference` both stand on."""
