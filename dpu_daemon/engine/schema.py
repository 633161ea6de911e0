"""The journal's tables, one migration per version; a migration is never edited, only followed."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE about (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        instance_id TEXT NOT NULL,
        made_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE wanted (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        place INTEGER,
        body BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX one_thing_per_place ON wanted (kind, place) WHERE place IS NOT NULL;
    CREATE TABLE fences (
        scope TEXT NOT NULL,
        subject TEXT NOT NULL,
        generation INTEGER NOT NULL,
        closed INTEGER NOT NULL,
        touched_unix_ms INTEGER NOT NULL,
        PRIMARY KEY (scope, subject)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE steps (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        says TEXT NOT NULL,
        state TEXT NOT NULL,
        sentence TEXT NOT NULL DEFAULT '',
        begun_unix_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        unix_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        warning INTEGER NOT NULL
    ) STRICT;
    """,
)
