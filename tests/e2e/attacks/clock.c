/* Loaded into a `quorix serve` by LD_PRELOAD (tests/e2e/attacks/clock.rs): its clocks are off by what the file CLOCK_OFFSETS
 * says, which the test changes while the process runs. Two numbers of seconds, 64 bits each: what is added to the time of
 * day, and to the clock by which it waits. Timers of a runtime that waits come due when something else wakes it.
 * RocksDB takes the time of day from gettimeofday, which is left as it is. 64-bit Linux.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *offsets;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("CLOCK_OFFSETS");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, 2 * sizeof *offsets, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED)
        abort();
    offsets = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offsets) {
        if (clock == CLOCK_REALTIME)
            now->tv_sec += offsets[0];
        else if (clock == CLOCK_MONOTONIC)
            now->tv_sec += offsets[1];
    }
    return result;
}
