// node-postgres: statements of many rows, with parameters and with literals.
const { Client } = require('pg')

const ROWS = 300
process.removeAllListeners('warning') // it names the process
const TAILS = ['', ' ON CONFLICT DO NOTHING', ' ON CONFLICT (a) DO UPDATE SET b = excluded.b || t.b', ' RETURNING a, c']

const rows = (first, bad) => Array.from({ length: ROWS }, (_, i) =>
  [first + i, i === bad ? null : `name ${first + i} \\ 'é'`, (first + i) / 4, i % 3 ? new Date(1000 * i) : null])

async function main () {
  const client = new Client({ ssl: false })
  await client.connect()
  client.on('notice', n => console.log('notice', n.message))
  await client.query("SET TimeZone = 'UTC'")
  await client.query('CREATE TABLE ok (a int)')
  await client.query('CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)')
  const quote = v => v === null ? 'NULL' : typeof v === 'number' ? String(v) : client.escapeLiteral(v instanceof Date ? v.toISOString() : v)
  const ways = {
    parameters: (r, tail) => client.query('INSERT INTO t (a, b, c, d) VALUES ' +
      r.map((_, i) => `($${4 * i + 1}, $${4 * i + 2}, $${4 * i + 3}, $${4 * i + 4})`).join(', ') + tail, r.flat()),
    named: (r, tail) => client.query({
      name: 'ins' + tail,
      text: 'INSERT INTO t (a, b, c, d) VALUES ' + r.map((_, i) => `($${4 * i + 1}, $${4 * i + 2}, $${4 * i + 3}, $${4 * i + 4})`).join(', ') + tail,
      values: r.flat()
    }),
    literals: (r, tail) => client.query('INSERT INTO t VALUES ' + r.map(x => `(${x.map(quote).join(', ')})`).join(', ') + tail)
  }
  const attempt = async (label, work) => {
    try {
      const r = await work()
      console.log(label, r.command, r.rowCount, JSON.stringify((r.fields || []).map(f => [f.name, f.dataTypeID, f.columnID])), JSON.stringify(r.rows.slice(0, 2)))
    } catch (e) {
      console.log(label, e.severity, e.code, e.message, e.detail, e.hint, e.position, e.where, e.schema, e.table, e.column, e.constraint, e.routine)
    }
  }
  for (const block of [false, true]) {
    for (const [name, way] of Object.entries(ways)) {
      for (const tail of TAILS) {
        const label = `${name}${tail} ${block}`
        for (const [what, first, bad] of [['', 1], [' duplicate', 2 - ROWS], [' more', 1001], [' null', 2001, ROWS / 2]]) {
          if (block) await client.query('BEGIN')
          await attempt(label + what, () => way(rows(first, bad), tail))
          if (block) {
            await attempt(label + what + ' after', () => client.query('SELECT count(*) FROM t'))
            await client.query(what === ' more' ? 'ROLLBACK' : 'COMMIT')
          }
          await client.query('INSERT INTO ok VALUES (1), (2)') // see insertOK
        }
        const r = await client.query("SELECT count(*), sum(a), md5(string_agg(t::text, ',' ORDER BY a)) FROM t")
        console.log(label, JSON.stringify(r.rows))
        await client.query('TRUNCATE t')
      }
    }
  }
  await Promise.all([1, 1001, 1, 2001].map((first, i) => attempt('at once ' + i, () => ways.parameters(rows(first), ''))))
  await client.end()
}

main().catch(e => { console.error(e); process.exit(1) })
