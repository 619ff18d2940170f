package routing

const moverDSN = "PGBULK_TEST_MOVER_DSN"

func runMover(dsn string) int { return 0 }
