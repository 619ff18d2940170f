// node-postgres with pg-copy-streams.
const { Client } = require('pg')
const { from } = require('pg-copy-streams')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')

const ROWS = 12000

function * text (first, n, tail = '') {
  for (let i = first; i < first + n; i++) yield `${i}\tname ${i} é\t${i % 100}.25\t\\N\n`
  yield tail
}

async function main () {
  const client = new Client({ ssl: false })
  await client.connect()
  client.on('notice', n => console.log('notice', n.message))
  await client.query('CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10,2), d timestamptz)')
  for (const [label, sql, data] of [
    ['small', 'COPY t FROM STDIN', text(1, 3)],
    ['large', 'COPY t FROM STDIN', text(100, ROWS)],
    ['duplicate', 'COPY t FROM STDIN', text(99, ROWS)],
    ['bad row', 'COPY t FROM STDIN', text(50000, ROWS, 'x\n')],
    ['missing table', 'COPY missing FROM STDIN', text(1, 3)]
  ]) {
    const copy = client.query(from(sql))
    try {
      await pipeline(Readable.from(data), copy)
      console.log(label, copy.rowCount)
    } catch (e) {
      console.log(label, e.code, e.message, e.where, e.constraint, e.routine)
    }
  }
  const r = await client.query('SELECT count(*), sum(a), sum(length(b)), sum(c) FROM t')
  console.log(JSON.stringify(r.rows))
  await client.end()
}

main().catch(e => { console.error(e); process.exit(1) })
