/* Loaded into a `quorix serve` by LD_PRELOAD (tests/torture/lost_sync.rs, disk_full.rs). It stands between the program and
 * the files below INTERPOSE_ROOT and
 *
 *   - writes everything that is done to them into INTERPOSE_JOURNAL, in order, with what was written, so that the test can
 *     afterwards say what a power cut would have left of them: syncs are recorded when they begin and when they have ended;
 *   - with INTERPOSE_LIE, swallows the syncs of files whose path contains that text, as a disk without a working cache
 *     flush does;
 *   - with INTERPOSE_FULL, lets no file grow and none be made while the file of that name exists, as a full disk does.
 *
 * What would change a watched file in a way that is not understood here is recorded as 'X', which fails the test.
 * It uses system calls, so that nothing is called in circles. 64-bit Linux.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536

/* A record: this, then `first` bytes, then `second` bytes. */
struct record {
    uint8_t kind;
    uint8_t pad[3];
    int32_t fd;
    uint64_t a, b;
    uint32_t first, second;
} __attribute__((packed));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *path_of[FILES]; /* of watched descriptors */
static const char *root, *lie, *full;
static int journal = -1;

__attribute__((constructor)) static void begin(void) {
    root = getenv("INTERPOSE_ROOT");
    lie = getenv("INTERPOSE_LIE");
    full = getenv("INTERPOSE_FULL");
    const char *file = getenv("INTERPOSE_JOURNAL");
    if (file)
        journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int below_root(const char *path) {
    size_t length = root ? strlen(root) : 0;
    return length && path && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int watched(int fd) { return fd >= 0 && fd < FILES && path_of[fd]; }

static void note2(char kind, int fd, uint64_t a, uint64_t b, const void *first, size_t n, const void *second, size_t m) {
    struct record record = {.kind = kind, .fd = fd, .a = a, .b = b, .first = n, .second = m};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)first, n}, {(void *)second, m}};
    if (journal >= 0 && syscall(SYS_writev, journal, parts, 3) < 0)
        abort();
}

static void note(char kind, int fd, uint64_t a, uint64_t b, const void *bytes, size_t n) {
    note2(kind, fd, a, b, bytes, n, NULL, 0);
}

/* A change that the journal cannot express. */
static void strange(const char *what, const char *path) { note2('X', -1, 0, 0, what, strlen(what), path, strlen(path)); }

static int is_full(void) { return full && !syscall(SYS_faccessat, AT_FDCWD, full, F_OK); }

/* Whether a write of so many bytes would need room that a full disk does not have. */
static int has_no_room(int fd, off_t offset, size_t bytes) {
    struct stat now;
    return is_full() && !fstat(fd, &now) && offset + (off_t)bytes > now.st_size;
}

static int open_file(int dir, const char *path, int flags, mode_t mode) {
    if (!below_root(path))
        return syscall(SYS_openat, dir, path, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = -1;
    if (is_new && (flags & O_CREAT) && is_full()) {
        errno = ENOSPC;
    } else {
        fd = syscall(SYS_openat, dir, path, flags, mode);
        int failed = errno;
        if (fd >= FILES)
            strange("too many descriptors", path);
        if (fd >= 0 && fd < FILES) {
            struct stat now;
            free(path_of[fd]);
            path_of[fd] = strdup(path);
            int is_dir = !fstat(fd, &now) && S_ISDIR(now.st_mode);
            note('O', fd, is_dir, (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY, path, strlen(path));
        }
        errno = failed;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                                      \
    mode_t mode = 0;                                     \
    if ((flags) & O_CREAT) {                             \
        va_list rest;                                    \
        va_start(rest, flags);                           \
        mode = va_arg(rest, mode_t);                     \
        va_end(rest);                                    \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_file(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { MODE(flags) return open_file(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { MODE(flags) return open_file(dir, path, flags, mode); }

static FILE *open_stream(const char *path, const char *how) {
    int flags = strchr(how, '+') ? O_RDWR : how[0] == 'r' ? O_RDONLY : O_WRONLY;
    flags |= how[0] == 'w' ? O_CREAT | O_TRUNC : how[0] == 'a' ? O_CREAT | O_APPEND : 0;
    if (below_root(path) && flags != O_RDONLY) /* its writes would not come by here */
        strange("fopen", path);
    int fd = open_file(AT_FDCWD, path, flags, 0666);
    return fd < 0 ? NULL : fdopen(fd, how);
}
FILE *fopen(const char *path, const char *how) { return open_stream(path, how); }
FILE *fopen64(const char *path, const char *how) { return open_stream(path, how); }

int close(int fd) {
    if (!watched(fd))
        return syscall(SYS_close, fd);
    pthread_mutex_lock(&lock);
    note('C', fd, 0, 0, NULL, 0);
    free(path_of[fd]);
    path_of[fd] = NULL;
    int result = syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

/* Closes its descriptor without coming by close. */
int fclose(FILE *stream) {
    static int (*real)(FILE *);
    if (!real)
        real = (int (*)(FILE *))dlsym(RTLD_NEXT, "fclose");
    int fd = fileno(stream);
    if (!watched(fd))
        return real(stream);
    pthread_mutex_lock(&lock);
    note('C', fd, 0, 0, NULL, 0);
    free(path_of[fd]);
    path_of[fd] = NULL;
    int result = real(stream);
    pthread_mutex_unlock(&lock);
    return result;
}

/* offset -1: at the descriptor's own place */
static ssize_t write_at(int fd, const void *bytes, size_t count, off_t offset) {
    pthread_mutex_lock(&lock);
    struct stat now;
    off_t place = offset;
    if (offset < 0) {
        int flags = fcntl(fd, F_GETFL);
        place = (flags & O_APPEND) && !fstat(fd, &now) ? now.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    ssize_t written = -1;
    if (has_no_room(fd, place, count)) {
        errno = ENOSPC;
    } else {
        written = offset < 0 ? syscall(SYS_write, fd, bytes, count) : syscall(SYS_pwrite64, fd, bytes, count, offset);
        int failed = errno;
        if (written > 0)
            note('W', fd, place, 0, bytes, written);
        errno = failed;
    }
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return watched(fd) ? write_at(fd, bytes, count, -1) : syscall(SYS_write, fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return watched(fd) ? write_at(fd, bytes, count, offset) : syscall(SYS_pwrite64, fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwrite(fd, bytes, count, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!watched(fd))
        return syscall(SYS_writev, fd, parts, count);
    /* A short write is allowed: the first part that has bytes. */
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len)
            return write_at(fd, parts[i].iov_base, parts[i].iov_len, -1);
    return 0;
}

int ftruncate(int fd, off_t length) {
    if (!watched(fd))
        return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_ftruncate, fd, length);
    if (!result)
        note('T', fd, length, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

int truncate(const char *path, off_t length) {
    if (below_root(path))
        strange("truncate", path);
    return syscall(SYS_truncate, path, length);
}
int truncate64(const char *path, off64_t length) { return truncate(path, length); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!watched(fd))
        return syscall(SYS_fallocate, fd, mode, offset, length);
    if (is_full()) {
        errno = ENOSPC;
        return -1;
    }
    pthread_mutex_lock(&lock);
    struct stat before, after;
    fstat(fd, &before);
    int result = syscall(SYS_fallocate, fd, mode, offset, length);
    if (!result && !fstat(fd, &after) && after.st_size != before.st_size)
        note('T', fd, after.st_size, 0, NULL, 0);
    /* RocksDB gives back what it reserved beyond the end of a file that it closes: that changes no byte. */
    int gives_back = mode == (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) && offset >= before.st_size;
    if (!result && (mode & ~FALLOC_FL_KEEP_SIZE) && !gives_back)
        strange("fallocate", path_of[fd]);
    pthread_mutex_unlock(&lock);
    return result;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

static int sync_file(int call, int fd) {
    if (!watched(fd))
        return syscall(call, fd);
    pthread_mutex_lock(&lock);
    int swallowed = lie && strstr(path_of[fd], lie);
    if (!swallowed)
        note('S', fd, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    /* Whether the real disk has it is of no interest here: a pause instead, in which others write and a kill may come. */
    usleep(200);
    pthread_mutex_lock(&lock);
    if (!swallowed)
        note('E', fd, 0, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return sync_file(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }

static int rename_file(int from_dir, const char *from, int to_dir, const char *to) {
    if (!below_root(from) && !below_root(to))
        return syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    pthread_mutex_lock(&lock);
    if (!below_root(from) || !below_root(to))
        strange("rename over the border", from);
    int result = syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    int failed = errno;
    if (!result)
        note2('R', -1, 0, 0, from, strlen(from), to, strlen(to));
    errno = failed;
    pthread_mutex_unlock(&lock);
    return result;
}
int rename(const char *from, const char *to) { return rename_file(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return rename_file(from_dir, from, to_dir, to); }

static int link_file(const char *from, const char *to) {
    if (!below_root(from) && !below_root(to))
        return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    int failed = errno;
    if (!result)
        note2('L', -1, 0, 0, from, strlen(from), to, strlen(to));
    errno = failed;
    pthread_mutex_unlock(&lock);
    return result;
}
int link(const char *from, const char *to) { return link_file(from, to); }

static int remove_file(int dir, const char *path, int flags) {
    if (!below_root(path))
        return syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_unlinkat, dir, path, flags);
    int failed = errno;
    if (!result)
        note('U', -1, 0, 0, path, strlen(path));
    errno = failed;
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *path) { return remove_file(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return remove_file(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int dir, const char *path, int flags) { return remove_file(dir, path, flags); }

static int make_dir(int dir, const char *path, mode_t mode) {
    if (!below_root(path))
        return syscall(SYS_mkdirat, dir, path, mode);
    pthread_mutex_lock(&lock);
    int result = syscall(SYS_mkdirat, dir, path, mode);
    int failed = errno;
    if (!result)
        note('M', -1, 0, 0, path, strlen(path));
    errno = failed;
    pthread_mutex_unlock(&lock);
    return result;
}
int mkdir(const char *path, mode_t mode) { return make_dir(AT_FDCWD, path, mode); }
int mkdirat(int dir, const char *path, mode_t mode) { return make_dir(dir, path, mode); }

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (watched(fd) && (protection & PROT_WRITE) && (flags & MAP_SHARED))
        strange("mmap for writing", path_of[fd]);
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}
