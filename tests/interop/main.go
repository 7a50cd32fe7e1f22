// The other side of tests/interop.rs: a log reader, a log writer and a checker of proofs, built on the reference packages
// golang.org/x/mod/sumdb/{note,tlog} and nothing else. Prints plain lines; ends with 1 and the reason where anything is
// not as it should be.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Tiles of C2SP tlog-tiles are 256 wide.
const height = 8

func main() {
	if len(os.Args) < 2 {
		fail("usage: reference read|proofs|write|open …")
	}
	switch args := os.Args[2:]; os.Args[1] {
	case "read":
		read(args[0], args[1], args[2:])
	case "proofs":
		proofs()
	case "write":
		write(args[0], args[1], args[2:])
	case "open":
		open(args)
	default:
		fail("no such command: %s", os.Args[1])
	}
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// ---- reading a log ----

// get reads a resource of a log: from a server, or from a folder.
func get(log, path string) []byte {
	if !strings.HasPrefix(log, "http://") {
		data, err := os.ReadFile(filepath.Join(log, path))
		must(err)
		return data
	}
	answer, err := http.Get(log + "/" + path)
	must(err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	must(err)
	if answer.StatusCode != http.StatusOK {
		fail("%s: status %d: %s", path, answer.StatusCode, data)
	}
	return data
}

// tilePath is the path of tlog-tiles for a tile: that of the checksum database without the height.
func tilePath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// reader reads tiles for tlog.TileHashReader, which checks them against the tree before anything is believed.
type reader struct {
	log  string
	seen map[string][]byte
}

func (r *reader) Height() int { return height }

func (r *reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := tilePath(tile)
		if r.seen[path] == nil {
			r.seen[path] = get(r.log, path)
		}
		all = append(all, r.seen[path])
	}
	return all, nil
}

func (r *reader) SaveTiles([]tlog.Tile, [][]byte) {}

// checkpoint opens a signed checkpoint and reads its three lines.
func checkpoint(signed []byte, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		fail("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: root}
}

// bundle splits an entry bundle.
func bundle(data []byte) [][]byte {
	var entries [][]byte
	for len(data) > 0 {
		length := int(binary.BigEndian.Uint16(data))
		entries, data = append(entries, data[2:2+length]), data[2+length:]
	}
	return entries
}

// read verifies a log: its checkpoint, every entry's hash against its leaf, the inclusion of every entry (of every 97th and
// the last 300 in a large log), and that it extends each of the older checkpoints in the files named.
func read(log, vkey string, older []string) {
	tree := checkpoint(get(log, "checkpoint"), vkey)
	hashes := tlog.TileHashReader(tree, &reader{log, map[string][]byte{}})
	root, err := tlog.TreeHash(tree.N, hashes)
	must(err)
	if root != tree.Hash {
		fail("the tiles have the root %v, the checkpoint %v", root, tree.Hash)
	}
	next := int64(0)
	for next < tree.N {
		tile := tlog.Tile{H: height, L: -1, N: next >> height, W: 1 << height}
		if rest := tree.N - next; rest < 1<<height {
			tile.W = int(rest)
		}
		entries := bundle(get(log, tilePath(tile)))
		if len(entries) != tile.W {
			fail("%s has %d entries", tilePath(tile), len(entries))
		}
		indexes := make([]int64, len(entries))
		for i := range entries {
			indexes[i] = tlog.StoredHashIndex(0, next+int64(i))
		}
		leaves, err := hashes.ReadHashes(indexes)
		must(err)
		for i, entry := range entries {
			leaf := tlog.RecordHash(entry)
			if leaf != leaves[i] {
				fail("entry %d is not the one in the tree", next)
			}
			if tree.N < 1000 || next%97 == 0 || tree.N-next < 300 {
				proof, err := tlog.ProveRecord(tree.N, next, hashes)
				must(err)
				must(tlog.CheckRecord(proof, tree.N, tree.Hash, next, leaf))
			}
			next++
		}
	}
	for _, file := range older {
		signed, err := os.ReadFile(file)
		must(err)
		old := checkpoint(signed, vkey)
		if old.N == 0 {
			continue // that a tree extends the empty one needs no proof, and tlog has none
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		must(err)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	}
	fmt.Printf("%d %v %d older\n", tree.N, tree.Hash, len(older))
}

// ---- proofs made elsewhere ----

// proofs checks one proof a line and says of each "ok" or "refused":
//
//	inclusion <size> <root> <index> <leaf> <hashes…>
//	consistency <size> <root> <old size> <old root> <hashes…>
func proofs() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		size, err := strconv.ParseInt(words[1], 10, 64)
		must(err)
		at, err := strconv.ParseInt(words[3], 10, 64)
		must(err)
		root, hash := parse(words[2]), parse(words[4])
		var proof []tlog.Hash
		for _, word := range words[5:] {
			proof = append(proof, parse(word))
		}
		switch words[0] {
		case "inclusion":
			err = tlog.CheckRecord(proof, size, root, at, hash)
		case "consistency":
			err = tlog.CheckTree(proof, size, root, at, hash)
		default:
			fail("no such proof: %s", words[0])
		}
		if err != nil {
			fmt.Println("refused")
		} else {
			fmt.Println("ok")
		}
	}
	must(lines.Err())
}

func parse(text string) tlog.Hash {
	hash, err := tlog.ParseHash(text)
	must(err)
	return hash
}

// ---- writing a log ----

// write writes a log as static files, with a checkpoint at each of the sizes, and proofs between them in the format of
// proofs. The key is new; its vkey is in the file "vkey".
func write(dir, origin string, sizes []string) {
	skey, vkey, err := note.GenerateKey(nil, origin)
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	save(dir, "vkey", []byte(vkey))
	save(dir, "skey", []byte(skey))
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	var entries [][]byte
	var proofs strings.Builder
	old := tlog.Tree{}
	for _, text := range sizes {
		size, err := strconv.ParseInt(text, 10, 64)
		must(err)
		for int64(len(entries)) < size {
			entry := []byte(fmt.Sprintf("entry %d, written by Go", len(entries)))
			new, err := tlog.StoredHashes(int64(len(entries)), entry, hashes)
			must(err)
			stored, entries = append(stored, new...), append(entries, entry)
		}
		root, err := tlog.TreeHash(size, hashes)
		must(err)
		tree := tlog.Tree{N: size, Hash: root}
		for _, tile := range tlog.NewTiles(height, old.N, size) {
			data, err := tlog.ReadTileData(tile, hashes)
			must(err)
			save(dir, tilePath(tile), data)
			if tile.L == 0 {
				var bytes []byte
				first := tile.N << height
				for _, entry := range entries[first : first+int64(tile.W)] {
					bytes = append(binary.BigEndian.AppendUint16(bytes, uint16(len(entry))), entry...)
				}
				tile.L = -1
				save(dir, tilePath(tile), bytes)
			}
		}
		body := fmt.Sprintf("%s\n%d\n%v\n", origin, size, root)
		signed, err := note.Sign(&note.Note{Text: body}, signer)
		must(err)
		save(dir, "checkpoint", signed)
		save(dir, fmt.Sprintf("checkpoint.%d", size), signed)
		for _, index := range []int64{0, size / 3, size / 2, size - 1} {
			proof, err := tlog.ProveRecord(size, index, hashes)
			must(err)
			must(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entries[index])))
			fmt.Fprintln(&proofs, "inclusion", size, root, index, tlog.RecordHash(entries[index]), list(proof))
		}
		if old.N > 0 {
			proof, err := tlog.ProveTree(size, old.N, hashes)
			must(err)
			fmt.Fprintln(&proofs, "consistency", size, root, old.N, old.Hash, list(proof))
		}
		old = tree
	}
	save(dir, "proofs", []byte(proofs.String()))
}

func list(hashes []tlog.Hash) string {
	var words []string
	for _, hash := range hashes {
		words = append(words, base64.StdEncoding.EncodeToString(hash[:]))
	}
	return strings.Join(words, " ")
}

func save(dir, path string, data []byte) {
	file := filepath.Join(dir, path)
	must(os.MkdirAll(filepath.Dir(file), 0o755))
	must(os.WriteFile(file, data, 0o644))
}

// ---- notes ----

// open opens the note on standard input with the verifier keys given and says who signed it.
func open(vkeys []string) {
	data, err := io.ReadAll(os.Stdin)
	must(err)
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		must(err)
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(data, note.VerifierList(verifiers...))
	must(err)
	for _, signature := range opened.Sigs {
		fmt.Printf("verified %s %08x\n", signature.Name, signature.Hash)
	}
	for _, signature := range opened.UnverifiedSigs {
		fmt.Printf("unknown %s %08x\n", signature.Name, signature.Hash)
	}
	fmt.Printf("%q\n", opened.Text)
}
