import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

// pgjdbc: CopyManager, the low-level CopyIn with a cancel, and a batch.
public class Copy {
  static final int ROWS = 12000;

  interface Work {
    Object run() throws Exception;
  }

  static void attempt(String label, Work work) {
    try {
      System.out.println(label + ": " + work.run());
    } catch (PSQLException e) {
      ServerErrorMessage m = e.getServerErrorMessage();
      System.out.println(label + ": " + e.getSQLState() + " " + e.getMessage().replace("\n", " / ")
          + (m == null ? "" : " " + m.getConstraint() + " " + m.getTable() + " " + m.getRoutine()));
    } catch (Exception e) {
      System.out.println(label + ": " + e);
    }
  }

  static String text(int first, int n) {
    StringBuilder b = new StringBuilder();
    for (int i = first; i < first + n; i++) {
      b.append(i).append("\tname ").append(i).append(" \u00e9\t").append(i % 100).append(".25\t\\N\n");
    }
    return b.toString();
  }

  static int[] batch(Connection c, int first) throws SQLException {
    try (PreparedStatement p = c.prepareStatement("INSERT INTO t VALUES (?, ?, ?, NULL)")) {
      for (int i = first; i < first + 500; i++) {
        p.setInt(1, i);
        p.setString(2, "batch " + i);
        p.setDouble(3, 1.25);
        p.addBatch();
      }
      return p.executeBatch();
    }
  }

  public static void main(String[] args) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
        + System.getenv("PGDATABASE") + "?sslmode=disable&ApplicationName=pgtest";
    try (Connection c = DriverManager.getConnection(url, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
        Statement s = c.createStatement()) {
      s.execute("CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(10,2), d timestamptz)");
      CopyManager m = c.unwrap(PGConnection.class).getCopyAPI();
      attempt("small", () -> m.copyIn("COPY t FROM STDIN", new StringReader(text(1, 3))));
      attempt("large", () -> m.copyIn("COPY t FROM STDIN", new StringReader(text(100, ROWS))));
      attempt("duplicate", () -> m.copyIn("COPY t FROM STDIN", new StringReader(text(99, ROWS))));
      attempt("bad row", () -> m.copyIn("COPY t FROM STDIN", new StringReader(text(50000, ROWS) + "x\n")));
      attempt("missing table", () -> m.copyIn("COPY missing FROM STDIN", new StringReader("1\n")));
      attempt("cancelled", () -> {
        CopyIn in = m.copyIn("COPY t FROM STDIN");
        byte[] data = text(80000, ROWS).getBytes(StandardCharsets.UTF_8);
        in.writeToCopy(data, 0, data.length);
        in.cancelCopy();
        return in.isActive();
      });
      attempt("low level", () -> {
        CopyIn in = m.copyIn("COPY t (a, b) FROM STDIN WITH (FORMAT csv)");
        String head = in.getFormat() + " " + in.getFieldCount() + " " + in.getFieldFormat(0);
        for (int i = 90000; i < 91000; i++) {
          byte[] data = (i + ",\"x\n" + i + "\"\n").getBytes(StandardCharsets.UTF_8);
          in.writeToCopy(data, 0, data.length);
        }
        return head + " " + in.endCopy();
      });
      c.setAutoCommit(false);
      attempt("transaction", () -> m.copyIn("COPY t FROM STDIN", new StringReader(text(300000, ROWS))));
      c.rollback();
      attempt("batch", () -> Arrays.stream(batch(c, 400000)).sum());
      c.commit();
      attempt("batch with a duplicate", () -> Arrays.stream(batch(c, 400499)).sum());
      c.rollback();
      try (ResultSet r = s.executeQuery("SELECT count(*), sum(a), sum(length(b)), sum(c) FROM t")) {
        r.next();
        System.out.println(r.getString(1) + " " + r.getString(2) + " " + r.getString(3) + " " + r.getString(4));
      }
    }
  }
}
