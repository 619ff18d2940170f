// Package killmatrix is a test program: while clients load numbered rows, it
// kills the proxy, ends backends, crashes the server or stops S3, each at a
// named point in the life of a load, and then looks whether every acknowledged
// row is there exactly once, whether rows are there that should not be, whether
// files are left in S3, and whether the ledger tells the truth.
//
// It owns no code of the product and has no hooks in it: the points are reached
// from outside, by relays between client, proxy, server and S3. The proxy is a
// process of its own, made from the test binary.
//
//	go test ./internal/killmatrix                                  a short run
//	go test ./internal/killmatrix -timeout 2h -killmatrix.rounds 20 -killmatrix.seed 7
//	go test ./internal/killmatrix -run TestMatrix -killmatrix.point 'commit' -killmatrix.action 'kill' -killmatrix.rounds 50
//
// The life of one round:
//
//  1. The clients start, each in a loop of COPYs, INSERTs, transactions and
//     savepoints, of which some are rolled back or hold bad data.
//  2. The trigger is armed: the n-th time that a relay sees the point, it holds
//     what it saw and carries out the action; then it passes that on or drops it.
//  3. What was killed is started again. The clients go on until each has ended
//     more transactions.
//  4. The clients stop, and what they know is compared with tables, ledger and S3.
//
// A failure names seed, point, action and round, with which it can be run again;
// since processes run side by side it may take some rounds to come back.
package killmatrix
