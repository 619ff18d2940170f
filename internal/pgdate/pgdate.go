// Package pgdate counts days as the server's dates are counted: from 2000-01-01 in
// the Gregorian calendar, also before there was one.
package pgdate

// FirstYear is the earliest year that Days takes: of the server's dates, 4714 BC, it
// is 4713 years before the year 0, which is 1 BC.
const FirstYear = -4713

// past are years added so that all are counted from one that is before the first. It
// is a multiple of 400, after which the calendar repeats.
const past = 4800

// epochDays is what the sum in Days is for 2000-01-01.
const epochDays = 365*6799 + 6799/4 - 6799/100 + 6799/400 + (153*10+2)/5 + 1

// Days returns the days since 2000-01-01, if there is such a day. The year 0 is 1 BC.
func Days(year, month, day int) (days int64, ok bool) {
	if year < FirstYear || month < 1 || month > 12 || day < 1 || day > 28 && day > lastDay(year, month) {
		return 0, false
	}
	// Years begin in March, so that the day that some have is at the end.
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	y := uint64(year + past)
	return int64(365*y+y/4-y/100+y/400+uint64(153*month+2)/5+uint64(day)) - epochDays, true
}

func lastDay(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4 || month == 6 || month == 9 || month == 11:
		return 30
	}
	return 31
}
