import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;

/**
 * Inserts the rows of one table into another by pgjdbc's executeBatch, in one
 * transaction, and prints the seconds that took. Arguments: source and target
 * table, rows a batch, options of the connection. The server is that of the PG
 * variables.
 */
public class InsertBatch {
    record Row(long id, int quantity, String customer, double price, OffsetDateTime orderedAt, boolean paid, String note) {}

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
            + System.getenv("PGDATABASE") + "?sslmode=disable&gssEncMode=disable&user=" + System.getenv("PGUSER")
            + (args.length > 3 ? "&" + args[3] : "");
        try (Connection conn = DriverManager.getConnection(url)) {
            conn.setAutoCommit(false);
            List<Row> rows = read(conn, args[0]);
            conn.commit();
            long start = System.nanoTime();
            insert(conn, args[1], rows, Integer.parseInt(args[2]));
            conn.commit();
            System.out.println("seconds = " + (System.nanoTime() - start) / 1e9);
        }
    }

    static List<Row> read(Connection conn, String table) throws Exception {
        List<Row> rows = new ArrayList<>();
        try (PreparedStatement select = conn.prepareStatement("select * from " + table + " order by id");
                ResultSet r = select.executeQuery()) {
            while (r.next()) {
                rows.add(new Row(r.getLong(1), r.getInt(2), r.getString(3), r.getDouble(4),
                    r.getObject(5, OffsetDateTime.class), r.getBoolean(6), r.getString(7)));
            }
        }
        return rows;
    }

    static void insert(Connection conn, String table, List<Row> rows, int batch) throws Exception {
        String sql = "insert into " + table + " (id, quantity, customer, price, ordered_at, paid, note) values (?,?,?,?,?,?,?)";
        try (PreparedStatement insert = conn.prepareStatement(sql)) {
            int waiting = 0;
            for (Row row : rows) {
                insert.setLong(1, row.id());
                insert.setInt(2, row.quantity());
                insert.setString(3, row.customer());
                insert.setDouble(4, row.price());
                insert.setObject(5, row.orderedAt());
                insert.setBoolean(6, row.paid());
                insert.setString(7, row.note());
                insert.addBatch();
                if (++waiting == batch) {
                    insert.executeBatch();
                    waiting = 0;
                }
            }
            if (waiting > 0) {
                insert.executeBatch();
            }
        }
    }
}
