/* A world that lies, for one process: its wall clock is moved, its disk is full or read-only, what
 * it writes is written down. Preloaded; ruled by 16 octets of a file that the test maps as well:
 * int64 milliseconds to add to the time of day, int32 errno for writes below FAULTS_BELOW, int32
 * unused. With FAULTS_LOG each write, cut and sync of a file below FAULTS_BELOW is appended there:
 * int32 kind (1 write, 2 cut, 3 sync), int32 length of name, int64 offset, int64 length, name, data.
 * The monotonic clock is left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct world { volatile int64_t offset_ms; volatile int32_t trouble; int32_t unused; };
static struct world quiet, *world = &quiet;
static const char *below;
static int log_fd = -1;
static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_cut)(int, off64_t), (*real_fsync)(int), (*real_fdatasync)(int);
static int (*real_clock)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_cut = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_clock = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("FAULTS_WORLD");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) world = map;
        close(fd);
    }
    below = getenv("FAULTS_BELOW");
    path = getenv("FAULTS_LOG");
    if (path) log_fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int name_of(int fd, char *name, size_t size) {
    char link[40] = "/proc/self/fd/";
    char digits[12]; int at = 0, to = 14;
    if (!below || fd < 0) return 0;
    do digits[at++] = '0' + fd % 10; while (fd /= 10);
    while (at) link[to++] = digits[--at];
    link[to] = 0;
    ssize_t got = readlink(link, name, size - 1);
    if (got <= 0) return 0;
    name[got] = 0;
    return strncmp(name, below, strlen(below)) == 0;
}

static int refused(int fd) {
    char name[512];
    if (!world->trouble || !name_of(fd, name, sizeof name)) return 0;
    errno = world->trouble;
    return 1;
}

static void note(int32_t kind, int fd, int64_t offset, const void *data, int64_t length) {
    char name[512];
    int kept = errno;
    if (log_fd < 0 || !name_of(fd, name, sizeof name)) return;
    int32_t head[2] = {kind, (int32_t)strlen(name)};
    int64_t more[2] = {offset, length};
    struct iovec parts[4] = {{head, 8}, {more, 16}, {name, head[1]},
                             {(void *)data, kind == 1 ? (size_t)length : 0}};
    pthread_mutex_lock(&one);
    if (writev(log_fd, parts, 4) < 0) abort();
    pthread_mutex_unlock(&one);
    errno = kept;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (refused(fd)) return -1;
    return real_write(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (refused(fd)) return -1;
    ssize_t done = real_pwrite(fd, data, size, at);
    if (done > 0) note(1, fd, at, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int ftruncate64(int fd, off64_t size) {
    int done = real_cut(fd, size);
    if (!done) note(2, fd, size, NULL, 0);
    return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) {
    if (refused(fd)) return -1;
    int done = real_fsync(fd);
    if (!done) note(3, fd, 0, NULL, 0);
    return done;
}
int fdatasync(int fd) {
    if (refused(fd)) return -1;
    int done = real_fdatasync(fd);
    if (!done) note(3, fd, 0, NULL, 0);
    return done;
}

static void move(struct timespec *t) {
    int64_t ns = t->tv_nsec + (world->offset_ms % 1000) * 1000000;
    t->tv_sec += world->offset_ms / 1000;
    if (ns < 0) { ns += 1000000000; t->tv_sec--; }
    if (ns >= 1000000000) { ns -= 1000000000; t->tv_sec++; }
    t->tv_nsec = ns;
}
int clock_gettime(clockid_t id, struct timespec *t) {
    int done = real_clock(id, t);
    if (!done && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) move(t);
    return done;
}
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec t;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &t)) return -1;
    tv->tv_sec = t.tv_sec; tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}
