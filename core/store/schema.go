package store

import (
	"embed"
	"io/fs"

	"mimigate/core/store/database"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the steps of the schema, in their order.
func migrations() ([]database.Migration, error) {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return nil, err
	}
	return database.ReadMigrations(files)
}
