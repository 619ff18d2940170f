import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

// pgjdbc: few rows at a time into a table with groups; prepared on the server from
// the fifth execution on, with batches, and keys that come back.
public class Groups {
  static final String[] GROUPS = {"a", "b", null, "b'\\"};
  static final String ONE = "INSERT INTO t (id, group_id, v) VALUES (?, ?, ?)";

  interface Work {
    Object run() throws SQLException;
  }

  static void attempt(Connection c, String label, Work work) throws SQLException {
    try {
      System.out.println(label + " " + work.run());
    } catch (SQLException e) {
      for (SQLException x = e; x != null; x = x.getNextException()) {
        System.out.println(label + " " + x.getSQLState() + " " + (x instanceof BatchUpdateException ? "batch" : x.getMessage().replace("\n", " / ")));
      }
      if (!c.getAutoCommit()) {
        c.rollback();
      }
    }
  }

  static PreparedStatement bind(PreparedStatement s, int id) throws SQLException {
    s.setInt(1, id);
    s.setString(2, GROUPS[id % 4]);
    s.setString(3, "x");
    return s;
  }

  public static void main(String[] args) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
        + "?user=" + System.getenv("PGUSER") + "&password=" + System.getenv("PGPASSWORD") + "&sslmode=disable&prepareThreshold=3";
    for (String more : new String[] {"", "&reWriteBatchedInserts=true", "&preferQueryMode=simple"}) {
      try (Connection c = DriverManager.getConnection(url + more)) {
        int start = more.length() * 1000;
        for (boolean auto : new boolean[] {true, false}) {
          int base = start + (auto ? 0 : 500);
          c.setAutoCommit(auto);
          PreparedStatement one = c.prepareStatement(ONE);
          PreparedStatement keys = c.prepareStatement(ONE, new String[] {"id"});
          for (int i = 0; i < 8; i++) {
            int n = i;
            attempt(c, "one", () -> bind(one, base + n).executeUpdate());
            attempt(c, "keys", () -> {
              bind(keys, base + 20 + n).executeUpdate();
              ResultSet r = keys.getGeneratedKeys();
              return r.next() ? r.getInt(1) : -1;
            });
          }
          for (int from : new int[] {40, 48, 45}) {
            attempt(c, "batch", () -> {
              for (int i = 0; i < 7; i++) {
                bind(one, base + from + i).addBatch();
              }
              return one.executeBatch().length;
            });
          }
          attempt(c, "duplicate", () -> bind(one, base + 1).executeUpdate());
          attempt(c, "again", () -> bind(one, base + 61).executeUpdate());
          if (!auto) {
            c.commit();
          }
        }
      }
    }
  }
}
