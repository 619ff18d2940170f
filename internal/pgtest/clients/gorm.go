package clients

import (
	"context"
	"fmt"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

// gormRow is a row of g.
type gormRow struct {
	ID   int `gorm:"primaryKey"`
	Name *string
	N    int
}

// TableName is GORM's.
func (gormRow) TableName() string { return "g" }

func gormRows(from, bad int) []gormRow {
	rows := make([]gormRow, insertRows)
	for i := range rows {
		name := fmt.Sprintf("name %d's", from+i)
		rows[i] = gormRow{Name: &name, N: from + i}
		if i == bad {
			rows[i].Name = nil
		}
	}
	return rows
}

// runGORM creates slices of rows, and reads back the numbers that the server
// gave: GORM takes them in the order of the rows. preferSimple lets pgx write
// literals.
func runGORM(preferSimple bool) func(ctx context.Context, dsn DSN) (string, error) {
	return func(ctx context.Context, dsn DSN) (string, error) {
		db, err := gorm.Open(postgres.New(postgres.Config{DSN: dsn.KeyValue(), PreferSimpleProtocol: preferSimple}),
			&gorm.Config{Logger: logger.Discard})
		if err != nil {
			return "", err
		}
		pool, err := db.DB()
		if err != nil {
			return "", err
		}
		defer func() { _ = pool.Close() }()
		pool.SetMaxOpenConns(1)
		db = db.WithContext(ctx)
		if _, err := pool.ExecContext(ctx, insertTables); err != nil {
			return "", err
		}
		out := &transcript{}
		for _, way := range gormWays() {
			gormWay(out, db, way.label, way.create)
		}
		var text string
		if err := db.Raw(insertSummary).Scan(&text).Error; err != nil {
			return "", err
		}
		out.line("tables: %s", text)
		return out.String(), nil
	}
}

type gormCreate func(db *gorm.DB, rows []gormRow) *gorm.DB

func gormWays() []struct {
	label  string
	create gormCreate
} {
	conflict := func(c clause.OnConflict) gormCreate {
		return func(db *gorm.DB, rows []gormRow) *gorm.DB { return db.Clauses(c).Create(&rows) }
	}
	key := []clause.Column{{Name: "n"}}
	return []struct {
		label  string
		create gormCreate
	}{
		{"create", func(db *gorm.DB, rows []gormRow) *gorm.DB { return db.Create(&rows) }},
		{"in batches", func(db *gorm.DB, rows []gormRow) *gorm.DB { return db.CreateInBatches(&rows, 70) }},
		{"without a transaction", func(db *gorm.DB, rows []gormRow) *gorm.DB {
			return db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&rows)
		}},
		{"do nothing", conflict(clause.OnConflict{DoNothing: true})},
		{"do update", conflict(clause.OnConflict{Columns: key, DoUpdates: clause.AssignmentColumns([]string{"name"})})},
		{"update all", conflict(clause.OnConflict{Columns: key, UpdateAll: true})},
	}
}

// gormWay creates rows in one way: well, with a duplicate, with a NULL, and
// inside a transaction with a savepoint.
func gormWay(out *transcript, db *gorm.DB, label string, create gormCreate) {
	note := func(what string, rows []gormRow, result *gorm.DB) error {
		out.line("%s, %s: %d affected, ids %d %d %d, %s", label, what, result.RowsAffected,
			rows[0].ID, rows[1].ID, rows[len(rows)-1].ID, explain(result.Error))
		return result.Error
	}
	run := func(db *gorm.DB, what string, from, bad int) error {
		rows := gormRows(from, bad)
		return note(what, rows, create(db, rows))
	}
	restart := func() {
		out.line("restart: %v %v", db.Exec("TRUNCATE g RESTART IDENTITY").Error, db.Exec(insertOK).Error)
	}
	restart()
	_ = run(db, "rows", 1, -1)
	_ = run(db, "duplicate", insertRows, -1)
	restart()
	_ = run(db, "rows", 1, -1)
	// The number in the error's detail depends on what failed before.
	if err := create(db, gormRows(1001, insertRows/2)).Error; err != nil {
		out.line("%s, null: %.60s", label, explain(err))
	}
	restart()
	err := db.Transaction(func(tx *gorm.DB) error {
		_ = run(tx, "block", 1, -1)
		inner := tx.Transaction(func(save *gorm.DB) error { return run(save, "savepoint", 1, -1) })
		out.line("%s, savepoint: %s", label, explain(inner))
		return tx.Exec("UPDATE g SET created = NULL WHERE id < 10").Error
	})
	out.line("%s, block: %s", label, explain(err))
}
