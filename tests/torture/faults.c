/* Breaks off what a process does to files below one folder, at the call that it is told.
 *
 * Preloaded (LD_PRELOAD), it stands before the C library's calls that change files: of Python,
 * SQLite, FAISS, torch, and Rust's tantivy and safetensors alike. Until `fault_arm` is called it
 * lets everything pass; a program that is started anew is not armed. What is written through
 * memory maps is not seen (SQLite's shared memory, which is made again after a crash), nor what asks
 * the kernel without the C library (the renames that tantivy does within a draft).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SPACE = 1, SYNC = 2, NAME = 4 }; /* kinds: takes space, waits for the disk, changes names */
enum { KILL = 'k', TEAR = 't', FULL = 'f', FAIL = 'e' }; /* what is done; see `fault_arm` */

static char below[PATH_MAX];
static size_t below_length;
static atomic_long seen;
static long due_at;
static int kinds, what, log_descriptor = -1;
static volatile int armed;

/* Count calls below `folder` that are of `which` kinds; at number `at` (from 1; 0 never):
 * KILL the process before it; TEAR it: half of a write is done, anything else whole, then KILL;
 * FULL: half of a write is done, and from there on what takes space fails with ENOSPC;
 * FAIL this one call with EIO. Calls of all kinds are noted in the file `log`. */
void fault_arm(const char *folder, int which, int action, long at, const char *log) {
    snprintf(below, sizeof below, "%s", folder);
    below_length = strlen(below);
    kinds = which, what = action, due_at = at;
    atomic_store(&seen, 0);
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC;
    log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, flags, 0600);
    armed = 1;
}

/* Let everything pass again. */
void fault_disarm(void) { armed = 0; }

static void note(const char *call, const char *path, const char *other) {
    char line[3 * PATH_MAX];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path, other);
    syscall(SYS_write, log_descriptor, line, (size_t)length);
}

/* Note that the program has told somebody that what it did is done. */
void fault_told(void) { note("told", "", ""); }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_below(const char *path) {
    return !strncmp(path, below, below_length) &&
           (path[below_length] == '/' || path[below_length] == '\0');
}

static const char *path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
    return path;
}

static const char *path_at(int folder, const char *name, char *path) {
    char start[PATH_MAX] = "";
    if (*name == '/') return strncpy(path, name, PATH_MAX - 1);
    if (folder != AT_FDCWD) path_of(folder, start);
    else if (!getcwd(start, sizeof start)) *start = '\0';
    if ((size_t)snprintf(path, PATH_MAX, "%s/%s", start, name) >= PATH_MAX) *path = '\0';
    return path;
}

/* Decide about one call. 0: it goes on; -1: it fails, errno says why; 1: half of it is done, and
 * then `finish` decides. */
static int decide(const char *call, int kind, const char *path, const char *other) {
    if (!armed || !(is_below(path) || (*other && is_below(other)))) return 0;
    note(call, path, other);
    if (!(kind & kinds)) return 0;
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (!due_at || number < due_at) return 0;
    if (what == FULL) {
        errno = ENOSPC;
        return number == due_at ? 1 : -1;
    }
    if (number > due_at) return 0;
    if (what == KILL) die();
    errno = EIO;
    return what == FAIL ? -1 : 1;
}

/* What comes of a call that was cut in half: death, or what little was written. */
static ssize_t finish(ssize_t done) {
    if (what == TEAR) die();
    if (done > 0) return done;
    errno = ENOSPC;
    return -1;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* One that is about an open file and takes a number of bytes. */
#define WRITES(type, name, parameters, half, ...)                       \
    type name parameters {                                              \
        static __typeof__(&name) next;                                  \
        if (!next) next = REAL(name);                                   \
        if (!armed) return next(__VA_ARGS__);                           \
        char path[PATH_MAX];                                            \
        int fate = decide("write", SPACE, path_of(descriptor, path), "");\
        if (fate < 0) return -1;                                        \
        return fate ? finish(half) : next(__VA_ARGS__);                 \
    }

WRITES(ssize_t, write, (int descriptor, const void *bytes, size_t count),
       next(descriptor, bytes, count / 2), descriptor, bytes, count)
WRITES(ssize_t, pwrite, (int descriptor, const void *bytes, size_t count, off_t at),
       next(descriptor, bytes, count / 2, at), descriptor, bytes, count, at)
WRITES(ssize_t, pwrite64, (int descriptor, const void *bytes, size_t count, off64_t at),
       next(descriptor, bytes, count / 2, at), descriptor, bytes, count, at)
WRITES(ssize_t, writev, (int descriptor, const struct iovec *parts, int count),
       next(descriptor, parts, count / 2), descriptor, parts, count)
WRITES(ssize_t, pwritev, (int descriptor, const struct iovec *parts, int count, off_t at),
       next(descriptor, parts, count / 2, at), descriptor, parts, count, at)
WRITES(ssize_t, pwritev64, (int descriptor, const struct iovec *parts, int count, off64_t at),
       next(descriptor, parts, count / 2, at), descriptor, parts, count, at)
WRITES(ssize_t, sendfile, (int descriptor, int from, off_t *at, size_t count),
       next(descriptor, from, at, count / 2), descriptor, from, at, count)
WRITES(ssize_t, sendfile64, (int descriptor, int from, off64_t *at, size_t count),
       next(descriptor, from, at, count / 2), descriptor, from, at, count)
WRITES(ssize_t, copy_file_range,
       (int from, off64_t *at, int descriptor, off64_t *to, size_t count, unsigned flags),
       next(from, at, descriptor, to, count / 2, flags), from, at, descriptor, to, count, flags)

/* One that is whole or not done at all. */
#define CHANGES(name, call, kind, parameters, first, second, ...)       \
    int name parameters {                                               \
        static __typeof__(&name) next;                                  \
        if (!next) next = REAL(name);                                   \
        if (!armed) return next(__VA_ARGS__);                           \
        char one[PATH_MAX], two[PATH_MAX] = "";                         \
        (void)two;                                                      \
        int fate = decide(call, kind, first, second);                   \
        if (fate < 0) return -1;                                        \
        if (!fate) return next(__VA_ARGS__);                            \
        return (int)finish(what == TEAR ? next(__VA_ARGS__) : -1);      \
    }

CHANGES(fsync, "sync", SYNC, (int descriptor), path_of(descriptor, one), "", descriptor)
CHANGES(fdatasync, "sync", SYNC, (int descriptor), path_of(descriptor, one), "", descriptor)
CHANGES(syncfs, "sync all", SYNC, (int descriptor), path_of(descriptor, one), "", descriptor)
CHANGES(ftruncate, "write", SPACE, (int descriptor, off_t size), path_of(descriptor, one), "",
        descriptor, size)
CHANGES(ftruncate64, "write", SPACE, (int descriptor, off64_t size), path_of(descriptor, one), "",
        descriptor, size)
CHANGES(fallocate, "write", SPACE, (int descriptor, int mode, off_t at, off_t size),
        path_of(descriptor, one), "", descriptor, mode, at, size)
CHANGES(fallocate64, "write", SPACE, (int descriptor, int mode, off64_t at, off64_t size),
        path_of(descriptor, one), "", descriptor, mode, at, size)
CHANGES(mkdir, "folder", SPACE, (const char *name, mode_t mode), path_at(AT_FDCWD, name, one), "",
        name, mode)
CHANGES(mkdirat, "folder", SPACE, (int folder, const char *name, mode_t mode),
        path_at(folder, name, one), "", folder, name, mode)
CHANGES(link, "link", SPACE, (const char *old, const char *new), path_at(AT_FDCWD, old, one),
        path_at(AT_FDCWD, new, two), old, new)
CHANGES(linkat, "link", SPACE, (int from, const char *old, int to, const char *new, int flags),
        path_at(from, old, one), path_at(to, new, two), from, old, to, new, flags)
CHANGES(symlink, "create", SPACE, (const char *to, const char *name),
        path_at(AT_FDCWD, name, one), "", to, name)
CHANGES(rename, "rename", NAME, (const char *old, const char *new), path_at(AT_FDCWD, old, one),
        path_at(AT_FDCWD, new, two), old, new)
CHANGES(renameat, "rename", NAME, (int from, const char *old, int to, const char *new),
        path_at(from, old, one), path_at(to, new, two), from, old, to, new)
CHANGES(renameat2, flags & RENAME_EXCHANGE ? "exchange" : "rename", NAME,
        (int from, const char *old, int to, const char *new, unsigned flags),
        path_at(from, old, one), path_at(to, new, two), from, old, to, new, flags)
CHANGES(unlink, "remove", NAME, (const char *name), path_at(AT_FDCWD, name, one), "", name)
CHANGES(unlinkat, "remove", NAME, (int folder, const char *name, int flags),
        path_at(folder, name, one), "", folder, name, flags)
CHANGES(rmdir, "remove", NAME, (const char *name), path_at(AT_FDCWD, name, one), "", name)

/* Opening a file changes something if it makes or empties it. */
static int opening(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    if (!armed || !(flags & (O_CREAT | O_TRUNC))) return 0;
    int there = !syscall(SYS_faccessat, folder, name, F_OK);
    if (there && !(flags & O_TRUNC)) return 0;
    return decide(there ? "empty" : "create", there ? NAME : SPACE, path_at(folder, name, path), "");
}

#define OPENS(name, parameters, folder, ...)                            \
    int name parameters {                                               \
        static __typeof__(&name) next;                                  \
        if (!next) next = REAL(name);                                   \
        mode_t mode = 0;                                                \
        if (flags & (O_CREAT | __O_TMPFILE)) {                          \
            va_list more;                                               \
            va_start(more, flags);                                      \
            mode = va_arg(more, mode_t);                                \
            va_end(more);                                               \
        }                                                               \
        int fate = opening(folder, file, flags);                        \
        if (fate < 0) return -1;                                        \
        if (!fate) return next(__VA_ARGS__, mode);                      \
        return (int)finish(what == TEAR ? next(__VA_ARGS__, mode) : -1);\
    }

OPENS(open, (const char *file, int flags, ...), AT_FDCWD, file, flags)
OPENS(open64, (const char *file, int flags, ...), AT_FDCWD, file, flags)
OPENS(openat, (int folder, const char *file, int flags, ...), folder, folder, file, flags)
OPENS(openat64, (int folder, const char *file, int flags, ...), folder, folder, file, flags)

/* The C library's streams, which FAISS writes by: their own writes pass none of the above. */
#define STREAMS(name)                                                   \
    FILE *name(const char *file, const char *mode) {                    \
        int flags = *mode == 'w' ? O_CREAT | O_TRUNC : *mode == 'a' ? O_CREAT : 0; \
        int fate = opening(AT_FDCWD, file, flags);                      \
        if (fate < 0) return NULL;                                      \
        FILE *stream = fate && what == FULL ? NULL : REAL(name)(file, mode); \
        if (fate) finish(-1);                                           \
        return stream;                                                  \
    }

STREAMS(fopen)
STREAMS(fopen64)

static int streaming(FILE *stream) {
    char path[PATH_MAX];
    if (!armed || !__fwritable(stream)) return 0;
    return decide("write", SPACE, path_of(fileno(stream), path), "");
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    int fate = streaming(stream);
    if (fate < 0) return 0;
    size_t done = REAL(fwrite)(bytes, size, fate ? count / 2 : count, stream);
    if (fate) {
        REAL(fflush)(stream);
        finish(-1);
    }
    return done;
}

int fclose(FILE *stream) {
    int fate = streaming(stream);
    int done = REAL(fclose)(stream);
    return fate ? finish(-1), EOF : done;
}
