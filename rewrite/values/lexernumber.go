package values

// signed reads a number with its sign. A blank between the two is legal, and
// refused; so are two signs, which are an operator's work.
func (l *Lexer) signed(i int, c *Cell) (int, error) {
	if b := l.byteAt(i + 1); b != '.' && classes[b]&digit == 0 {
		return i, ErrExpression
	}
	if l.sql[i] == '+' {
		return l.number(i+1, i+1, c)
	}
	return l.number(i, i+1, c)
}

// number reads digits from i; the text of the cell begins at start, which is
// the sign's place where it counts.
func (l *Lexer) number(start, i int, c *Cell) (int, error) {
	first := i
	for i < len(l.sql) && classes[l.sql[i]]&digit != 0 {
		i++
	}
	c.Kind = Integer
	if l.byteAt(i) == '.' {
		c.Kind = Decimal
		i++
		for i < len(l.sql) && classes[l.sql[i]]&digit != 0 {
			i++
		}
		if i == first+1 { // a dot alone
			l.byteAt(i)
			return i, ErrSyntax
		}
	}
	if b := l.byteAt(i); b == 'e' || b == 'E' {
		c.Kind = Decimal
		i++
		if b := l.byteAt(i); b == '-' || b == '+' {
			i++
		}
		if classes[l.byteAt(i)]&digit == 0 {
			return i, ErrNumberForm
		}
		for i < len(l.sql) && classes[l.sql[i]]&digit != 0 {
			i++
		}
	}
	if classes[l.byteAt(i)]&word != 0 {
		return i, ErrNumberForm
	}
	c.Text = l.sql[start:i]
	if c.Kind == Integer && l.sql[first] == '0' {
		l.trimZeros(start, first, i, c)
	}
	return i, nil
}

// trimZeros gives an integer the text that the server would print: -007 is -7,
// and -0 is 0.
func (l *Lexer) trimZeros(start, first, end int, c *Cell) {
	for first < end-1 && l.sql[first] == '0' {
		first++
	}
	c.Text = l.sql[first:end]
	if l.sql[start] == '-' && l.sql[first] != '0' {
		from := len(l.decoded)
		l.put('-')
		l.put(c.Text...)
		c.Text = l.decoded[from:]
	}
}
