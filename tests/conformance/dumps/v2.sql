-- A store as schema version 2 left it: written once, never changed.
PRAGMA journal_mode=WAL;
BEGIN;
PRAGMA application_id=1131181684;
PRAGMA user_version=2;
CREATE TABLE kv (key BLOB NOT NULL PRIMARY KEY, create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL);
CREATE TABLE history (revision INTEGER NOT NULL, key BLOB NOT NULL, create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (revision, key)) WITHOUT ROWID;
CREATE TABLE revisions (revision INTEGER PRIMARY KEY, at INTEGER NOT NULL);
INSERT INTO store VALUES (1, 7);
INSERT INTO kv VALUES (CAST('/a' AS BLOB), 2, 5, 3, CAST('first' AS BLOB));
INSERT INTO kv VALUES (CAST('/b' AS BLOB), 7, 7, 1, CAST('' AS BLOB));
INSERT INTO history VALUES (7, CAST('/b' AS BLOB), 0, 0, 0, CAST('' AS BLOB));
INSERT INTO revisions VALUES (7, 1795650000000);
COMMIT;
