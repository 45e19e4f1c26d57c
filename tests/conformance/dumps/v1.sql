-- A store as schema version 1 left it: written once, never changed.
PRAGMA journal_mode=WAL;
BEGIN;
PRAGMA application_id=1131181684;
PRAGMA user_version=1;
CREATE TABLE kv (key BLOB NOT NULL PRIMARY KEY, create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
INSERT INTO store VALUES (1, 7);
INSERT INTO kv VALUES (CAST('/a' AS BLOB), 2, 5, 3, CAST('first' AS BLOB));
INSERT INTO kv VALUES (CAST('/b' AS BLOB), 7, 7, 1, CAST('' AS BLOB));
COMMIT;
