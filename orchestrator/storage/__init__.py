"""The only room with access to the database: Optuna's studies in a storage, and the lock of a study."""
