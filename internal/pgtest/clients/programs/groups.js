// node-postgres: few rows at a time into a table with groups.
const { Client } = require('pg')

process.removeAllListeners('warning')
const GROUPS = ['a', 'b', null, "b'\\"]
const INSERT = 'INSERT INTO t (id, group_id, v) VALUES ($1, $2, $3)'

async function main () {
  const client = new Client({ ssl: false })
  await client.connect()
  const attempt = async (label, query) => {
    try {
      const r = await client.query(query)
      console.log(label, r.command, r.rowCount, JSON.stringify((r.fields || []).map(f => [f.name, f.dataTypeID, f.columnID])), JSON.stringify(r.rows))
    } catch (e) {
      console.log(label, e.code, e.message, e.detail, e.where, e.table, e.constraint, e.position)
    }
  }
  for (let i = 0; i < 8; i++) {
    await attempt('unnamed', { text: INSERT, values: [i, GROUPS[i % 4], 'x'] })
    await attempt('named', { name: 'n', text: INSERT, values: [10 + i, GROUPS[i % 4], 'x'] })
    await attempt('returning', { name: 'r', text: INSERT + ' RETURNING id, group_id', values: [20 + i, GROUPS[i % 4], 'x'] })
    await attempt('text', `INSERT INTO t (id, group_id) VALUES (${30 + i}, 'b'), (${40 + i}, 'a')`)
  }
  await attempt('duplicate', { name: 'n', text: INSERT, values: [1, 'b', 'x'] })
  await attempt('again', { name: 'n', text: INSERT, values: [5, 'b', 'x'] })
  await attempt('begin', 'BEGIN')
  await attempt('in block', { name: 'n', text: INSERT, values: [50, 'b', 'x'] })
  await attempt('in block', { name: 'n', text: INSERT, values: [51, 'a', 'x'] })
  await attempt('in block', { name: 'n', text: INSERT, values: [50, 'b', 'x'] })
  await attempt('in block', { name: 'n', text: INSERT, values: [52, 'b', 'x'] })
  await attempt('rollback', 'ROLLBACK')
  await attempt('several', "BEGIN; INSERT INTO o VALUES (1); COMMIT")
  await client.end()
}

main().catch(e => { console.error(e); process.exit(1) })
