import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;

// pgjdbc: executeUpdate of single rows with pgbulk.coalesce, first parsed each time
// and then prepared; and in the simple protocol.
public class Coalesce {
  static void run(String options, int from) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
        + "?user=" + System.getenv("PGUSER") + "&sslmode=disable&options=-c%20pgbulk.coalesce=transaction" + options;
    try (Connection c = DriverManager.getConnection(url); Statement s = c.createStatement()) {
      s.execute("CREATE TABLE IF NOT EXISTS t (a int PRIMARY KEY, b text NOT NULL, c numeric(10,2))");
      c.setAutoCommit(false);
      try (PreparedStatement p = c.prepareStatement("INSERT INTO t (a, b, c) VALUES (?, ?, ?)")) {
        for (int i = from; i < from + 50; i++) {
          p.setInt(1, i);
          p.setString(2, "name " + i + " \\ '\u00e9'");
          p.setBigDecimal(3, new java.math.BigDecimal(i % 100 + ".25"));
          System.out.println(p.executeUpdate());
        }
      }
      try (ResultSet r = s.executeQuery("SELECT count(*), sum(hashtext(t::text)::bigint) FROM t")) {
        r.next();
        System.out.println(r.getString(1) + " " + r.getString(2));
      }
      c.commit();
    }
  }

  public static void main(String[] args) throws Exception {
    run("", 0);
    run("&preferQueryMode=simple", 1000);
  }
}
