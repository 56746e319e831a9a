"""The only room that knows a database: Optuna's studies behind a storage, and the lock of a study."""
