"""The kinds: typed objects, decoding with exact error paths, validation, schemas. Imports only the kit."""
