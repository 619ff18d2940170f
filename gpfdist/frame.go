package gpfdist

import (
	"encoding/binary"
	"math"
)

// Frame types of protocol 1: a byte, a length of four bytes in network order, and
// so many bytes.
const (
	frameName   = 'F'
	frameOffset = 'O'
	frameLine   = 'L'
	frameData   = 'D' // of length 0: the end
	frameError  = 'E'
)

const (
	// maxName is the longest name that segments take.
	maxName = 256
	// maxBlock is the longest D frame: its length is signed on the other side.
	maxBlock = math.MaxInt32
)

// appendFrame adds a frame's head. Sizes are not negative, and checked by whoever makes
// the body.
func appendFrame(p []byte, kind byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(p, kind), uint32(size))
}

// appendHead adds all that goes before a block's rows. A segment takes the line
// number only where its buffer is empty, and stops reading in front of a name: so
// each block has one.
func appendHead(p []byte, name string, offset int64, b Block) []byte {
	p = append(appendFrame(p, frameName, len(name)), name...)
	p = binary.BigEndian.AppendUint64(appendFrame(p, frameOffset, 8), uint64(offset))
	p = binary.BigEndian.AppendUint64(appendFrame(p, frameLine, 8), uint64(b.Line))
	return appendFrame(p, frameData, int(b.Size))
}

// appendError adds an E frame. An empty one would be no message.
func appendError(p []byte, why string) []byte {
	if why == "" {
		why = "the load has ended"
	}
	return append(appendFrame(p, frameError, len(why)), why...)
}
