package transcode

var timeCases = []serverCase{
	{name: "date", kind: "date", settings: timeSettings, made: []string{madeDate, "(" + madeTimestamp + ")::date", "to_char(" + madeDate + ", 'YYYY-MM-DD')"}, list: []string{
		"2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00", "0000-01-01", "0001-01-01", "0001-01-01 BC", "0005-02-29 BC", "0004-02-29 BC", "4713-01-01 BC", "4714-11-24 BC", "4714-11-23 BC", "4712-01-01 BC", "0044-03-15 bc", "0044-03-15 AD", "0044-03-15BC",
		"5874897-12-31", "5874898-01-01", "5874896-01-01", "294276-12-31", "294277-01-01", "10000-01-01", "99999-12-31", "9999-12-31", "999-01-01", "99-01-01", "02-03-2024", "2/3/2024", "2024/02/03", "2024.02.03", "20240203", "2024-2-3", "2024-02-3", "24-02-03", "2024-Feb-03", "Feb 3 2024", "2024-02-03 ", " 2024-02-03", "2024-02-03 12:00:00", "2024-02-03T12:00", "2024-034", "J2451187",
		"infinity", "-infinity", "+infinity", "Infinity", "INFINITY", "inf", "epoch", "now", "today", "tomorrow", "yesterday", "allballs", "2024-W05-1", "2024-02-03-", "2024--02-03", "2024-02--3", "-2024-02-03", "+2024-02-03", "2024-02-03 BC BC", "02024-02-03", "002024-02-03", "0000002024-02-03", "2024-02_03", "２024-02-03",
	}},
	{name: "time", kind: "time", settings: timeSettings[:2], made: []string{"(" + madeTimestamp + ")::time", "(" + madeTimestamp + ")::time(2)"}, list: []string{
		"00:00:00", "24:00:00", "23:59:60", "23:59:59.999999", "23:59:59.9999999", "23:59:59.9999994", "12:34", "12:34:5", "1:02:03", "12:34:56.", "12:34:56.1", "12:34:56,1", "12:34:56.1234567", "12:60:00", "12:00:61", "25:00:00", "12:34:56 AM", "12:34 PM", "123456", "12:34:56+02", "12:34:56Z", "T12:34:56", " 12:34:56", "12:34:56 ", "12::34", "12:34:56.12.3", "allballs", "now", "12:34.5", "12:34:56.000000", "-12:34:56",
	}},
	{name: "time(2)", kind: "time(2)", made: []string{"(" + madeTimestamp + ")::time"}, list: []string{"23:59:59.995", "23:59:59.994", "00:00:00.005", "00:00:00.015"}},
	{name: "timestamp", kind: "timestamp", settings: timeSettings, made: []string{"(" + madeTimestamp + ")::timestamp", "(" + madeFar + ")::timestamp", madeTimestamp, "(" + madeTimestamp + ")::timestamp(0)"}, list: timestampList},
	{name: "timestamp(3)", kind: "timestamp(3)", settings: timeSettings[:1], made: []string{"(" + madeTimestamp + ")::timestamp"}, list: []string{"2024-01-01 00:00:00.0005", "2024-01-01 00:00:00.0015", "2024-01-01 23:59:59.9996", "1999-12-31 23:59:59.9995", "1999-12-31 23:59:59.9985"}},
	{name: "timestamptz", kind: "timestamptz", settings: timeSettings, made: []string{madeTimestamp, madeFar, "(" + madeTimestamp + ")::timestamp", "to_char(" + madeTimestamp + ", 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", "to_char(" + madeTimestamp + ", 'YYYY-MM-DD HH24:MI:SSTZH:TZM')", "(" + madeTimestamp + ")::timestamp || (array['+05:30', '-1130', '+00:00:01', '-15:59:59', '+14', 'Z', ' UTC'])[1 + (r * 7)::int % 7]"}, list: timestampList},
	{name: "timestamptz(0)", kind: "timestamptz(0)", settings: timeSettings[:3], made: []string{madeTimestamp}},
	{name: "interval", kind: "interval", settings: []string{"SET IntervalStyle = 'postgres'", "SET IntervalStyle = 'postgres_verbose'", "SET IntervalStyle = 'iso_8601'"}, made: []string{
		madeInterval, "justify_interval(" + madeInterval + ")", "(r * 100)::int * interval '1 day'", "(r * 1e6 - 5e5) * interval '1 s'", "(r * 400 - 200)::int || ' mons'",
	}, list: []string{
		"00:00:00", "1 year", "1 years", "2 year", "1 mon", "1 mons", "1 month", "1 day", "-1 days", "1 day 2 days", "1 day 1 year", "1 year -2 mons +3 days -04:05:06.789", "1 week", "1 day 02:03", "1 day -02:03", "02:03", "-02:03", "1", "1 hour", "1:02:03", "100:00:00", "9999999:00:00", "99999999:00:00", "-00:00:01", "+00:00:01", "--00:00:01", "-1 day -00:00:01", "1 day -+1:00:00",
		"00:60:00", "00:00:60", "00:00:59.9999999", "00:00:00.000001", "1.5 days", "1 DAY", "1  day", " 1 day", "1 day ", "1day", "P1Y2M3D", "PT1H", "P0001-02-03T04:05:06", "1-2", "1-2 3 4:05:06", "@ 1 day ago", "1 day ago", "infinity", "-infinity", "9999999 years", "178000000 years", "178000001 years", "9999999 mons", "2147483647 mons", "9999999 days", "99999999 days", "", "day", "1 day day", "1 mon 1 mon", "- 1 day", "1 year 00:00", "00:00:00 1 day", "1e2 days", "0x1 day",
	}},
	{name: "inet", kind: "inet", made: []string{madeInet, madeInet6, "host(" + madeInet6 + "::inet)", "(" + madeInet6 + ")::inet", "(" + madeInet + ")::inet"}, list: networkList},
	{name: "cidr", kind: "cidr", made: []string{"network((" + madeInet + ")::inet)", "network((" + madeInet6 + ")::inet)"}, list: networkList},
	{name: "macaddr", kind: "macaddr", made: []string{"regexp_replace(regexp_replace(left(md5(r::text), 12), '(..)', '\\1:', 'g'), ':$', '')", "upper(regexp_replace(regexp_replace(left(md5(r::text), 12), '(..)', '\\1-', 'g'), '-$', ''))", "left(md5(r::text), 12)"}, list: []string{
		"08:00:2b:01:02:03", "08-00-2b-01-02-03", "08002b:010203", "08002b-010203", "0800.2b01.0203", "0800-2b01-0203", "08002b010203", "08:00:2b:01:02", "08:00:2b:01:02:0g", "8:0:2b:1:2:3", "08:00-2b:01:02:03", "08:00:2b:01:02:03 ",
	}},
	{name: "int4[]", kind: "int4[]", made: []string{"array[(r * 100)::int, null, g]", "array[[1, g], [(r * 1e9 - 5e8)::int, 4]]", "array_fill(g, array[1, 2, 3])", "'{}'::int4[]", "('[2:3]={1,' || g || '}')", "('{' || g || ', ' || g || ' ,  null}')"}, settings: []string{"SET array_nulls = on", "SET array_nulls = off"}, list: arrayList},
	{name: "text[]", kind: "text[]", made: []string{"array[" + madeText + ", null, md5(r::text), '', 'null']", "array[[" + madeText + "], [" + madeText + "]]", "('{' || " + madeText + " || ',a}')"}, settings: []string{"SET array_nulls = on", "SET array_nulls = off"}, list: arrayList},
	{name: "varchar(3)[]", kind: "varchar(3)[]", made: []string{"array[left(md5(r::text), 3), 'ab   ']"}, list: []string{"{abc}", "{abcd}", `{"abc  "}`}},
	{name: "numeric(6,2)[]", kind: "numeric(6,2)[]", made: []string{"array[round((r * 1000)::numeric, 4), null]"}},
	{name: "timestamptz[]", kind: "timestamptz[]", settings: timeSettings[:3], made: []string{"array[" + madeTimestamp + ", null, 'infinity']"}},
	{name: "float8[]", kind: "float8[]", made: []string{"array[r, -r, 'NaN', 'infinity', null, r * 1e300]"}},
	{name: "bool[]", kind: "bool[]", made: []string{"array[r < 0.5, null, true]"}},
	{name: "bytea[]", kind: "bytea[]", made: []string{"array[decode(md5(r::text), 'hex'), '']"}, settings: []string{"SET bytea_output = 'hex'", "SET bytea_output = 'escape'"}},
	{name: "jsonb[]", kind: "jsonb[]", made: []string{"array[" + madeJSON + "]"}},
	{name: "uuid[]", kind: "uuid[]", made: []string{"array[md5(r::text)::uuid]"}},
	{name: "enum[]", kind: "mood[]", before: []string{"CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy', 'NULL', '')"}, made: []string{"array[(enum_range(null::mood))[1 + (r * 5)::int % 5], null]"}},
	{name: "domain[]", kind: "positive[]", before: []string{"CREATE DOMAIN positive AS numeric(8,3) CHECK (VALUE > 0)"}, made: []string{"array[round((r * 1e4)::numeric + 1, 5)]"}, list: []string{"{0}", "{1.0005,NULL}"}},
	{name: "domain over array", kind: "pair", before: []string{"CREATE DOMAIN pair AS int4[] CHECK (cardinality(VALUE) = 2)"}, made: []string{"array[(r * 1000)::int, g]"}, list: []string{"{1}", "{1,2}", "{{1,2}}", "{{1},{2}}"}},
}

var timestampList = []string{
	"2024-02-29 12:34:56", "2024-02-29T12:34:56", "2024-02-29t12:34:56", "2024-02-29 12:34", "2024-02-29", "2024-02-29 12", "2024-02-29 12:34:56.1", "2024-02-29 12:34:56.123456", "2024-02-29 12:34:56.1234567", "2024-02-29 12:34:56.", "2024-02-29 24:00:00", "2024-02-29 23:59:60", "2024-02-29 12:34:60", "2024-02-29  12:34:56", "2024-02-29 12:34:56 ", " 2024-02-29 12:34:56",
	"2024-02-29 12:34:56Z", "2024-02-29T12:34:56Z", "2024-02-29T12:34:56.5z", "2024-02-29 12:34Z", "2024-02-29Z", "2024-02-29+02", "2024-02-29 12:34:56 Z", "2024-02-29 12:34:56UTC", "2024-02-29 12:34:56 UTC", "2024-02-29 12:34:56 GMT", "2024-02-29 12:34:56 IST", "2024-02-29 12:34:56 Europe/Amsterdam", "2024-03-31 02:30:00 Europe/Amsterdam", "2024-02-29 12:34:56+02", "2024-02-29 12:34:56-02", "2024-02-29 12:34:56+2", "2024-02-29 12:34:56+0230", "2024-02-29 12:34:56+02:30", "2024-02-29 12:34:56+02:30:15", "2024-02-29 12:34:56-02:30:15", "2024-02-29 12:34:56+15", "2024-02-29 12:34:56+15:59", "2024-02-29 12:34:56+15:59:59", "2024-02-29 12:34:56+16", "2024-02-29 12:34:56+02:60", "2024-02-29 12:34:56+02:", "2024-02-29 12:34:56+023", "2024-02-29 12:34:56+023015", "2024-02-29 12:34:56 +02", "2024-02-29 12:34:56+00", "2024-02-29 12:34:56-00", "2024-02-29 12:34+05:30", "2024-02-29T12:34-05",
	"0044-03-15 12:00:00 BC", "0044-03-15 12:00:00+00 BC", "0044-03-15 BC", "0001-02-29 12:00:00 BC", "4713-01-01 00:00:00+00 BC", "4712-01-01 00:00:00+00 BC", "4714-11-24 00:00:00+00 BC", "4714-11-23 23:59:59+00 BC", "294276-12-31 23:59:59.999999+00", "294277-01-01 00:00:00+00", "294275-12-31 23:59:59.999999-15:59:59", "10000-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00", "0000-01-01 00:00:00", "0001-01-01 00:00:00+15", "1999-12-31 23:59:59.999999", "1582-10-10 00:00:00+00",
	"infinity", "-infinity", "epoch", "now", "20240229T123456", "20240229 123456", "2024-02-29 12:34:56 PM", "2024-02-29 01:34:56 PM", "29-02-2024 12:00:00", "02/03/2024 12:00:00", "Thu Feb 29 12:34:56 2024", "2024-02-30 00:00:00", "2023-02-29 00:00:00+00", "2024-02-29_12:34:56", "2024-02-29 12-34-56", "2024-02-29 12:34:56.-1", "2024-02-29 1:02:03", "2024-02-29 -1:02:03", "2024-02-29T12:34:56+02:30 BC", "2024-03-31 02:30:00", "2024-02-29 12:34:56.5 BC", "2024-02-29T", "2024-02-29 ", "2024-02-29T12:34:56T", "2024-02-29 12:34.5",
}

var networkList = []string{
	"1.2.3.4", "1.2.3.4/32", "1.2.3.4/0", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/08", "1.2.3.4/00", "01.2.3.4", "1.2.3.04", "1.2.3.256", "1.2.3", "1.2.3/24", "10/8", "10.0.0.0/8", "10.0.0.1/8", "1.2.3.4.5", " 1.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "1.2.3.4/-1", "1.2.3.4/+8", "255.255.255.255", "224.0.0.1", "224.0.0.0/4", "0.0.0.0/0",
	"::", "::1", "::/0", "::1/128", "::1/129", "1::", "1::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6::8", "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1::", ":::", ":1", "1:", "::ffff:1.2.3.4", "::1.2.3.4", "::ffff:1.2.3.4/120", "fe80::1%eth0", "fe80::1%", "FE80::ABCD", "2001:db8::/32", "2001:db8::1/32", "12345::", "0001::", "00001::", "g::", "::1/", "1::2::3", "2001:4f8:3:ba::/64", "2001:4f8:3:ba:2e0:81ff:fe22:d1f1",
}

var arrayList = []string{
	"{}", "{1}", "{1,2,3}", "{ 1 , 2 }", "{1 2}", "{1,}", "{,1}", "{,}", "{ }", "{NULL}", "{null,Null,1}", `{"NULL"}`, `{"1"}`, `{"1",2}`, `{ "1" , "2" }`, `{"1"2}`, `{1"2"}`, `{"a\"b"}`, `{"a\\b"}`, "{\"\xc3\\\xa9\"}", `{"é\é"}`, `{a\,b}`, `{a\b}`, `{"a\nb"}`, `{""}`, `{"","a b"}`, `{a b}`, `{a b }`, `{ a  b ,c}`, "{{1,2},{3,4}}", "{{1,2},{3}}", "{{1},2}", "{1,{2}}", "{{1,2},{3,4}} ", " {1}", "{1} ", "{{}}", "{{},{}}", "{{1},{}}", "{{1,2}, {3,4}}", "{{{1}}}", "{{{{{{1}}}}}}", "{{{{{{{1}}}}}}}", "{1}{2}", "{1", "1}", "{", "}", "{{1}", "{1}}", `{"1}`, `{"`, `{"\`, `{\`, "[0:1]={1,2}", "[1:2]={1,2}", "[2]={1,2}", "[1:2][1:1]={{1},{2}}", "{1;2}", "{\t1\n,\v2\f}", "{NULL,NULL}", "{{NULL},{1}}", "{NuLl }", "{nulls}", "{null null}", "", "{1,2", "{a{b}", "{a}b}", "{{a},{b},{c}}", "{{a,b},{c,d,e}}", "{{a},{b}}c",
}
