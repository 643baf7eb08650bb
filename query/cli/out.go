package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"hubscope/query/client"
)

// Results in files. The extension says the form; the file is replaced when the
// result is complete, so that nobody ever reads a part of one.

// fileFormats are the text forms by extension.
var fileFormats = map[string]string{
	"csv": "csv", "tsv": "tsv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson", "md": "markdown", "txt": "table",
}

const fileExtensions = "svg, png, csv, tsv, json, ndjson, md, parquet or arrow"

// check says what is wrong with a view before a query runs for it.
func (v *view) check() error {
	if v.out == "" {
		return nil
	}
	ext := v.extension()
	switch ext {
	case "svg", "png":
		if v.chart == "none" {
			return usage("--out %s is a chart, and --chart is none", v.out)
		}
	case "parquet", "arrow":
	default:
		if fileFormats[ext] == "" {
			return usage("--out %s: no form of a result has the extension %q; there are %s", v.out, ext, fileExtensions)
		}
	}
	if info, err := os.Stat(filepath.Dir(v.out)); err != nil || !info.IsDir() {
		return usage("--out %s: there is no folder %s", v.out, filepath.Dir(v.out))
	}
	if info, err := os.Stat(v.out); err == nil && !info.Mode().IsRegular() {
		return usage("--out %s is no regular file", v.out)
	}
	return nil
}

func (v *view) extension() string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(v.out), "."))
}

// save runs a query and writes its result to the file.
func (v *view) save(ctx context.Context, sh *Shell, service *client.Client, req client.QueryRequest, p *progress) error {
	f, err := create(v.out)
	if err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	defer f.discard()
	out := bufio.NewWriterSize(f, 256<<10)
	var what string
	switch ext := v.extension(); ext {
	case "svg", "png":
		what, err = v.saveChart(ctx, sh, service, req, p, out)
	case "parquet", "arrow":
		what, err = saveArrow(ctx, sh, service, req, out, ext == "parquet")
	default:
		what, err = saveText(ctx, sh, service, req, p, out, fileFormats[ext])
	}
	if err != nil {
		return err
	}
	if err = out.Flush(); err == nil {
		err = f.keep()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errWrite, err)
	}
	p.clear()
	if sh.Progress {
		fmt.Fprintf(sh.Err, "%s written to %s\n", what, v.out)
	}
	return nil
}

// each runs a query and gives all its rows to f.
func each(ctx context.Context, service *client.Client, req client.QueryRequest, p *progress, begin func([]client.Column) (writer, error)) (*client.Done, error) {
	answer, err := service.Query(ctx, req, p.show)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	w, err := begin(answer.Columns)
	if err != nil {
		return nil, err
	}
	for {
		rows, err := answer.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := w.rows(rows); err != nil {
			return nil, fmt.Errorf("%w: %w", errWrite, err)
		}
	}
	if err := w.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", errWrite, err)
	}
	return answer.Done, nil
}

func saveText(ctx context.Context, sh *Shell, service *client.Client, req client.QueryRequest, p *progress, out io.Writer, format string) (string, error) {
	done, err := each(ctx, service, req, p, func(columns []client.Column) (writer, error) {
		return newWriter(format, out, columns, 0, false), nil
	})
	if err != nil {
		return "", err
	}
	notes(sh, done)
	return plural(done.Stats.Rows, "row"), nil
}

// saveArrow writes record batches as they come: an Arrow file (with the footer
// that random access needs), or Parquet.
func saveArrow(ctx context.Context, sh *Shell, service *client.Client, req client.QueryRequest, out io.Writer, toParquet bool) (string, error) {
	body, err := service.Arrow(ctx, req)
	if err != nil {
		return "", err
	}
	defer body.Close()
	in, err := ipc.NewReader(body)
	if err != nil {
		return "", fmt.Errorf("the answer is no Arrow stream: %w", err)
	}
	defer in.Release()
	schema := in.Schema()
	var write func(arrow.RecordBatch) error
	var end func() error
	if toParquet {
		schema = parquetSchema(schema)
		w, err := pqarrow.NewFileWriter(schema, keepOpen{out},
			parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCreatedBy("hubscope")),
			pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
		if err != nil {
			return "", fmt.Errorf("%w: parquet: %w", errWrite, err)
		}
		write, end = w.WriteBuffered, w.Close
	} else {
		w, err := ipc.NewFileWriter(keepOpen{out}, ipc.WithSchema(schema), ipc.WithZstd())
		if err != nil {
			return "", fmt.Errorf("%w: arrow: %w", errWrite, err)
		}
		write, end = w.Write, w.Close
	}
	done := client.Done{}
	for in.Next() {
		batch := in.RecordBatch()
		if m, ok := batch.(arrow.RecordBatchWithMetadata); ok {
			if value, _ := m.Metadata().GetValue(client.ArrowTruncated); value == "true" {
				done.Truncated = true
			}
			if value, ok := m.Metadata().GetValue(client.ArrowNotices); ok {
				done.Notices = strings.Split(value, "\n")
			}
		}
		if batch.NumRows() == 0 {
			continue
		}
		done.Stats.Rows += batch.NumRows()
		if err := writeAs(schema, batch, write); err != nil {
			return "", fmt.Errorf("%w: %w", errWrite, err)
		}
	}
	if err := in.Err(); err != nil {
		return "", fmt.Errorf("the answer ends early: %w", err)
	}
	if err := end(); err != nil {
		return "", fmt.Errorf("%w: %w", errWrite, err)
	}
	notes(sh, &done)
	return plural(done.Stats.Rows, "row"), nil
}

// keepOpen hides that the file can be closed, which the writers would do.
type keepOpen struct{ io.Writer }

// parquetSchema is a schema of what Parquet has. Durations become numbers of
// nanoseconds, and say so; uuid and JSON what they are stored as.
func parquetSchema(s *arrow.Schema) *arrow.Schema {
	fields := s.Fields()
	for i := range fields {
		if ext, ok := fields[i].Type.(arrow.ExtensionType); ok {
			if ext.ExtensionName() == "arrow.uuid" {
				continue
			}
			fields[i].Type = ext.StorageType()
		}
		if fields[i].Type.ID() == arrow.DURATION {
			fields[i].Type = arrow.PrimitiveTypes.Int64
			meta := fields[i].Metadata.ToMap()
			meta["unit"] = "ns"
			fields[i].Metadata = arrow.MetadataFrom(meta)
		}
	}
	meta := s.Metadata()
	return arrow.NewSchema(fields, &meta)
}

// writeAs writes a batch under a schema that has the same columns.
func writeAs(schema *arrow.Schema, batch arrow.RecordBatch, write func(arrow.RecordBatch) error) error {
	columns := make([]arrow.Array, batch.NumCols())
	for i := range columns {
		columns[i] = batch.Column(i)
		if ext, ok := columns[i].(array.ExtensionArray); ok && schema.Field(i).Type.ID() != arrow.EXTENSION {
			columns[i] = ext.Storage()
		}
		if to := schema.Field(i).Type; columns[i].DataType().ID() == arrow.DURATION && to.ID() == arrow.INT64 {
			d := columns[i].Data()
			data := array.NewData(to, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
			columns[i] = array.MakeFromData(data)
			data.Release()
			defer columns[i].Release()
		}
	}
	same := array.NewRecordBatch(schema, columns, batch.NumRows())
	defer same.Release()
	return write(same)
}

// newFile is one that takes the place of another when it is complete.
type newFile struct {
	*os.File
	path string
}

// create opens a file beside path.
func create(path string) (*newFile, error) {
	mode := os.FileMode(0o666) // less the user's mask
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.%d.part", path, os.Getpid()), os.O_CREATE|os.O_EXCL|os.O_RDWR, mode)
	if err != nil {
		return nil, reason(err)
	}
	return &newFile{f, path}, nil
}

// keep puts the file into its place.
func (f *newFile) keep() error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return reason(err)
	}
	return os.Rename(f.Name(), f.path)
}

// discard removes the file unless it was kept.
func (f *newFile) discard() {
	f.Close()           //nolint:errcheck // of no use any more, or closed
	os.Remove(f.Name()) //nolint:errcheck // it is not there when it was kept
}
