//! How RocksDB is set up: durability first, then a small memory footprint, then speed.
//!
//! Memory: 32 MiB of cache, which also holds the indexes and filters of the files, but those of [`Shape::Once`] (leaf hashes) and
//! [`Shape::Lookup`] (retractions, the pages of a verifiable index), which are held whole and grow by 10 bits a key and more, as
//! long as no more files are open than may be; up to 48 MiB for tiles of hashes, which only reading them fills; 32 MiB of write
//! buffers, all column families together; a few MiB for at most 512 open files.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompactionStyle, DBCompressionType,
    DBRecoveryMode, LogLevel, Options, UniversalCompactOptions,
};

const CACHE_BYTES: usize = 32 << 20;
/// The tiles of a million and a half entries.
const HASHES_CACHE_BYTES: usize = 48 << 20;
const WRITE_BUFFERS_BYTES: usize = 32 << 20;
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Of random keys: with twice as much in each file there are half as many files to look into, or to merge.
const LOOKUP_BUFFER_BYTES: usize = 16 << 20;
const WAL_BYTES: u64 = 64 << 20;
const OPEN_FILES: i32 = 512;
/// Files that are opened before they are asked for, at most.
pub(super) const FILES_OPENED_AHEAD: usize = 256;
const BLOOM_BITS: f64 = 10.0;
/// Files of random keys that pile up before they are merged: each merge writes all of the next level anew, and to ask the
/// filters of some more files takes less.
const UNMERGED_FILES: i32 = 12;
/// By how much what came later may outweigh what came first: never too much, and no product of it overflows.
const NEVER_TOO_LARGE_PERCENT: i32 = 1_000_000;
/// Largest file of entry bundles: their keys ascend, so that a merge writes only the last file anew. Beyond some forty million
/// entries that is more files than are held open.
const BUNDLES_FILE_BYTES: u64 = 8 << 20;
/// Share of a write buffer for the filter of its keys.
const MEMTABLE_BLOOM: f64 = 0.05;
/// The fastest: each entry is compressed while others wait to be appended.
const ZSTD_LEVEL: i32 = 1;
/// RocksDB's default; of no meaning for zstd.
const WINDOW_BITS: i32 = -14;
const LARGE_VALUE_BYTES: u64 = 4 << 10;

/// What the keys and values of a column family are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Few, small, changed often.
    Small,
    /// Hashes under ascending keys: they do not compress.
    Hashes,
    /// Entry bundles: text and hashes, up to some 100 KiB, rewritten while they are partial.
    Bundles,
    /// Some entries in a row, a few KiB under ascending keys, of which one is read at a time.
    Pieces,
    /// Small values under random keys, of which most lookups find none.
    Lookup,
    /// The same where hardly any key is ever written again.
    Once,
    /// Small values under random keys that compress a little.
    Rows,
    /// Keys that are scanned in order.
    Sorted,
    /// Up to 4 MiB each, written once.
    Blobs,
}

/// Options of the whole database.
pub(super) fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Every write is synced before anyone hears of it, so all that a crash can leave at the end of the write-ahead log
    // is a record that was never acknowledged: it is dropped. Any other damage keeps the database from opening.
    // Absolute consistency would refuse to start after an ordinary power cut, and point-in-time recovery would silently
    // forget acknowledged entries behind a damaged record: a log that then signs on has forked.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(WAL_BYTES);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(2);
    // One writer at a time, whose keys ascend: each then finds its place in a write buffer from the one before.
    options.set_allow_concurrent_memtable_write(false);
    options.set_bytes_per_sync(1 << 20);
    // Starting is not to read every file.
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(3);
    options
}

/// What is kept in memory of the files of one database.
pub(super) struct Caches {
    /// Of most column families.
    shared: Cache,
    /// Of tiles of hashes, so that what clients ask for most is not pushed out by what appending looks up.
    hashes: Cache,
}

impl Caches {
    pub(super) fn new() -> Self {
        Self {
            shared: Cache::new_lru_cache(CACHE_BYTES),
            hashes: Cache::new_lru_cache(HASHES_CACHE_BYTES),
        }
    }
}

/// Options of one column family.
pub(super) fn column(shape: Shape, caches: &Caches) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(match shape {
        Shape::Hashes => &caches.hashes,
        _ => &caches.shared,
    });
    table.set_block_size(match shape {
        // A full tile of hashes has 8 KiB: each is a block of its own, so that no other is read with it. Rows and pieces are
        // read by themselves: what lies in the same block is decompressed in vain.
        Shape::Hashes | Shape::Rows | Shape::Pieces => 4 << 10,
        _ => 16 << 10,
    });
    let is_looked_up = matches!(shape, Shape::Lookup | Shape::Once);
    if is_looked_up || matches!(shape, Shape::Rows | Shape::Blobs) {
        table.set_bloom_filter(BLOOM_BITS, false);
        table.set_optimize_filters_for_memory(true);
    }
    if is_looked_up {
        // Each entry is looked up in all files. Their filters and indexes are held whole, some bytes an entry: cut into blocks,
        // each look-up would first look for a block in the cache.
        table.set_cache_index_and_filter_blocks(false);
    } else {
        // Those of a billion keys do not fit into memory: they are cut into blocks and cached like data.
        table.set_cache_index_and_filter_blocks(true);
        table.set_cache_index_and_filter_blocks_with_high_priority(true);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_pin_top_level_index_and_filter(true);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(match shape {
        Shape::Lookup | Shape::Once => LOOKUP_BUFFER_BYTES,
        _ => WRITE_BUFFER_BYTES,
    });
    options.set_level_compaction_dynamic_level_bytes(true);
    if is_looked_up {
        // Most of what is looked up is not there: a filter says so for what is still in memory too.
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM);
        options.set_memtable_whole_key_filtering(true);
        options.set_level_zero_file_num_compaction_trigger(UNMERGED_FILES);
        options.set_level_zero_slowdown_writes_trigger(UNMERGED_FILES.saturating_mul(3));
        options.set_level_zero_stop_writes_trigger(UNMERGED_FILES.saturating_mul(4));
    }
    if shape == Shape::Once {
        // What was merged once lies still until about as much has come again. There is next to nothing that a merge could
        // throw away: one because of that would write everything anew for nothing.
        let mut runs = UniversalCompactOptions::default();
        runs.set_max_size_amplification_percent(NEVER_TOO_LARGE_PERCENT);
        options.set_compaction_style(DBCompactionStyle::Universal);
        options.set_universal_compaction_options(&runs);
    }
    match shape {
        Shape::Small | Shape::Hashes | Shape::Lookup | Shape::Once => {
            options.set_compression_type(DBCompressionType::None);
        }
        Shape::Rows | Shape::Sorted => options.set_compression_type(DBCompressionType::Lz4),
        Shape::Pieces => {
            // Larger than with zstd, and a decision decompresses a piece of each log.
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_target_file_size_base(BUNDLES_FILE_BYTES);
        }
        Shape::Bundles => {
            // Fast while bundles still change, small once they lie still.
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
            options.set_bottommost_compression_options(WINDOW_BITS, ZSTD_LEVEL, 0, 0, true);
            options.set_target_file_size_base(BUNDLES_FILE_BYTES);
        }
        Shape::Blobs => {
            options.set_compression_type(DBCompressionType::Lz4);
            // Kept outside the tree, so that compaction does not copy them around.
            options.set_enable_blob_files(true);
            options.set_min_blob_size(LARGE_VALUE_BYTES);
            options.set_blob_compression_type(DBCompressionType::Zstd);
        }
    }
    options
}
