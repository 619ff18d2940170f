import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.Arrays;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

// pgjdbc: executeBatch with and without reWriteBatchedInserts, with keys that
// the server makes, and statements of many rows.
public class Insert {
  static final int ROWS = 300;
  static final String ONE = "INSERT INTO t (a, b, c, d) VALUES (?, ?, ?, ?)";

  interface Work {
    Object run() throws Exception;
  }

  static void show(String label, SQLException e) {
    StringBuilder b = new StringBuilder(label + ": ");
    if (e instanceof BatchUpdateException) {
      int[] counts = ((BatchUpdateException) e).getUpdateCounts();
      b.append("counts ").append(counts.length).append(' ').append(Arrays.stream(counts).sum()).append(' ');
    }
    for (SQLException x = e; x != null; x = x.getNextException()) {
      String text = x.getMessage().replace("\n", " / ").replaceAll("contains \\(\\d+,", "contains (N,");
      b.append(x.getSQLState()).append(' ').append(text.length() > 500 ? text.substring(text.length() - 500) : text);
      if (x instanceof PSQLException && ((PSQLException) x).getServerErrorMessage() != null) {
        ServerErrorMessage m = ((PSQLException) x).getServerErrorMessage();
        b.append(" [").append(m.getConstraint()).append(' ').append(m.getTable()).append(' ').append(m.getColumn()).append(' ')
            .append(m.getWhere()).append(' ').append(m.getPosition()).append(' ').append(m.getRoutine()).append("] ");
      }
    }
    System.out.println(b);
  }

  static void attempt(Connection c, String label, Work work) throws SQLException {
    try {
      System.out.println(label + ": " + work.run());
      if (!c.getAutoCommit()) c.commit();
    } catch (SQLException e) {
      show(label, e);
      if (!c.getAutoCommit()) c.rollback();
      try (Statement s = c.createStatement()) {
        s.execute("INSERT INTO ok VALUES (1), (2)"); // see insertOK
      }
      if (!c.getAutoCommit()) c.commit();
    } catch (Exception e) {
      System.out.println(label + ": " + e);
    }
  }

  static void fill(PreparedStatement p, int at, int i, boolean bad) throws SQLException {
    p.setInt(at, i);
    p.setString(at + 1, bad ? null : "name " + i + " \\ '\u00e9'");
    p.setDouble(at + 2, i % 100 + 0.25);
    p.setTimestamp(at + 3, i % 3 == 0 ? null : new Timestamp(i * 1000L));
  }

  static String batch(Connection c, int first, int bad, String tail) throws SQLException {
    try (PreparedStatement p = c.prepareStatement(ONE + tail)) {
      for (int i = 0; i < ROWS; i++) {
        fill(p, 1, first + i, i == bad);
        p.addBatch();
      }
      int[] counts = p.executeBatch();
      return counts.length + " " + Arrays.stream(counts).sum();
    }
  }

  static String many(Connection c, int first, int bad, String tail) throws SQLException {
    StringBuilder b = new StringBuilder("INSERT INTO t VALUES ");
    for (int i = 0; i < ROWS; i++) b.append(i == 0 ? "" : ", ").append("(?, ?, ?, ?)");
    try (PreparedStatement p = c.prepareStatement(b + tail)) {
      for (int i = 0; i < ROWS; i++) fill(p, 1 + 4 * i, first + i, i == bad);
      return "" + p.executeUpdate();
    }
  }

  static String literals(Connection c, int first, int bad, String tail) throws SQLException {
    StringBuilder b = new StringBuilder("INSERT INTO t (a, b, c) VALUES ");
    for (int i = 0; i < ROWS; i++) {
      b.append(i == 0 ? "" : ", ").append("(").append(first + i).append(i == bad ? ", NULL" : ", 'it''s \\ " + i + "'").append(", 1.5)");
    }
    try (Statement s = c.createStatement()) {
      return "" + s.executeUpdate(b + tail);
    }
  }

  static String keys(Connection c, String from, boolean bad) throws SQLException {
    try (PreparedStatement p = c.prepareStatement("INSERT INTO g (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < ROWS; i++) {
        p.setString(1, bad && i == ROWS / 2 ? null : from + i);
        p.addBatch();
      }
      int sum = Arrays.stream(p.executeBatch()).sum();
      StringBuilder b = new StringBuilder();
      int n = 0;
      try (ResultSet r = p.getGeneratedKeys()) {
        while (r.next()) if (n++ % 100 == 0) b.append(' ').append(r.getInt(1)).append(r.getString(2));
      }
      return sum + " " + n + b;
    }
  }

  interface Way {
    String run(Connection c, int first, int bad, String tail) throws SQLException;
  }

  static void ways(Connection c, String label) throws Exception {
    Way[] ways = {Insert::batch, Insert::many, Insert::literals};
    String[] names = {"batch", "many", "literals"};
    for (int w = 0; w < ways.length; w++) {
      Way way = ways[w];
      for (String tail : new String[] {"", " ON CONFLICT DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = excluded.b || t.b"}) {
        String l = label + " " + names[w] + tail;
        attempt(c, l, () -> way.run(c, 1, -1, tail));
        attempt(c, l + " duplicate", () -> way.run(c, 2 - ROWS, -1, tail));
        attempt(c, l + " more", () -> way.run(c, 1001, -1, tail));
        attempt(c, l + " null", () -> way.run(c, 2001, ROWS / 2, tail));
        sum(c, "SELECT count(*) || ' ' || sum(a) || ' ' || md5(string_agg(t::text, ',' ORDER BY a)) FROM t");
        attempt(c, "truncate", () -> c.createStatement().executeUpdate("TRUNCATE t"));
      }
    }
    attempt(c, label + " keys", () -> keys(c, "n", false));
    attempt(c, label + " keys again", () -> keys(c, "m", false));
    attempt(c, label + " keys null", () -> keys(c, "o", true));
    attempt(c, "restart", () -> c.createStatement().executeUpdate("TRUNCATE g RESTART IDENTITY"));
  }

  static void sum(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
      r.next();
      System.out.println(r.getString(1));
    }
  }

  public static void main(String[] args) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
        + System.getenv("PGDATABASE") + "?sslmode=disable&ApplicationName=pgtest&options=-ctimezone=UTC";
    boolean made = false;
    for (String option : new String[] {"", "&reWriteBatchedInserts=true", "&preferQueryMode=simple", "&autosave=always"}) {
      try (Connection c = DriverManager.getConnection(url + option, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
          Statement s = c.createStatement()) {
        if (!made) {
          s.execute("CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2), d timestamptz)");
          s.execute("CREATE TABLE ok (a int)");
          s.execute("CREATE TABLE g (id serial PRIMARY KEY, name varchar(20) NOT NULL)");
          made = true;
        }
        ways(c, option + " autocommit");
        c.setAutoCommit(false);
        ways(c, option + " block");
        attempt(c, option + " savepoint", () -> {
          batch(c, 1, -1, "");
          Savepoint p = c.setSavepoint();
          try {
            batch(c, 2 - ROWS, -1, "");
          } catch (SQLException e) {
            show("in savepoint", e);
            c.rollback(p);
          }
          return batch(c, 1001, -1, "") + literals(c, 2001, -1, "");
        });
        sum(c, "SELECT count(*) || ' ' || sum(a) || ' ' || sum(c) FROM t");
        s.execute("TRUNCATE t");
        c.commit();
      }
    }
  }
}
