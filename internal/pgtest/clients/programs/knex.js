// Knex: batchInsert, insert with onConflict and returning.
const knex = require('knex')({ client: 'pg', connection: { ssl: false, application_name: 'pgtest' }, pool: { min: 1, max: 1 } })

const ROWS = 300
const rows = (first, bad) => Array.from({ length: ROWS }, (_, i) => ({
  a: first + i, b: i === bad ? null : `name ${first + i} \\ 'é'`, c: (first + i) / 4, d: i % 3 ? '2020-01-01 00:00+00' : null
}))

async function attempt (label, work) {
  try {
    const r = await work()
    console.log(label, Array.isArray(r) ? r.length + JSON.stringify(r.slice(0, 2)) : JSON.stringify([r && r.command, r && r.rowCount]))
  } catch (e) {
    console.log(label, e.severity, e.code, e.message.slice(-200), e.detail, e.hint, e.position, e.where, e.table, e.column, e.constraint, e.routine)
  }
}

async function main () {
  await knex.raw("SET TimeZone = 'UTC'")
  await knex.raw('CREATE TABLE ok (a int)')
  await knex.raw('CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)')
  await knex.raw('CREATE TABLE g (id serial PRIMARY KEY, name text NOT NULL)')
  const ways = {
    batch: (k, r) => k.batchInsert('t', r, 100),
    'batch returning': (k, r) => k.batchInsert('t', r, 100).returning('a'),
    insert: (k, r) => k('t').insert(r),
    nothing: (k, r) => k('t').insert(r).onConflict().ignore(),
    merge: (k, r) => k('t').insert(r).onConflict('a').merge(['b', 'c']).returning(['a', 'b']),
    gaps: (k, r) => k('t').insert(r.map((x, i) => i % 2 ? { a: x.a, b: x.b } : x))
  }
  for (const [name, way] of Object.entries(ways)) {
    for (const [what, first, bad] of [['', 1], [' duplicate', 2 - ROWS], [' more', 1001], [' null', 2001, ROWS / 2]]) {
      await attempt(name + what, () => way(knex, rows(first, bad)))
      await attempt(name + what + ' block', () => knex.transaction(async trx => {
        await way(trx, rows(first + 10000, bad))
        await trx.transaction(inner => way(inner, rows(first + 20000))).catch(e => console.log('inner', e.code))
        return trx('t').count()
      }))
      await knex.raw('INSERT INTO ok VALUES (1), (2)') // see insertOK
    }
    console.log(name, JSON.stringify((await knex.raw("SELECT count(*), sum(a), md5(string_agg(t::text, ',' ORDER BY a)) FROM t")).rows))
    await knex('t').truncate()
  }
  await attempt('numbered', () => knex('g').insert(rows(1).map(r => ({ name: r.b }))).returning('id'))
  await attempt('numbered batch', () => knex.batchInsert('g', rows(1).map(r => ({ name: r.b })), 70).returning('id'))
  await knex.destroy()
}

main().catch(e => { console.error(e); process.exit(1) })
