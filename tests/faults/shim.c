/* Counts the file-system calls that touch one directory, and makes a chosen one fail.
 *
 * Loaded with LD_PRELOAD. The program says which directory (`steps_watch`) and what is to happen from when on
 * (`steps_arm`). A call touches the directory when it names a path below it, or a descriptor that such a call opened.
 */
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { PASS, KILL_BEFORE, KILL_AFTER, FAIL, FAIL_DONE, SHORT, SHORT_THEN_FAIL };
enum span { ONCE, FROM_THERE_ON, SUCH_CALLS }; /* the last: every call of the same name from there on */
enum { MOST = 65536 };

static char root[4096];
static char watched[MOST]; /* descriptors */
static DIR *folders[64];
static int mode, at, number, span, count, applied, armed;
static const char *target = "", *trace[MOST];

void steps_watch(const char *path) { strncpy(root, path, sizeof root - 1); }
int steps_count(void) { return count; }
int steps_applied(void) { return applied; }
const char *steps_name(int n) { return n >= 1 && n <= count && n < MOST ? trace[n] : ""; }

void steps_arm(int mode_, int at_, int number_, int span_) {
    mode = mode_, at = at_, number = number_, span = span_;
    count = applied = 0, target = "", armed = 1;
}
void steps_disarm(void) { armed = 0; }

static int below(const char *path) {
    size_t length = strlen(root);
    return length && path && !strncmp(path, root, length) && (!path[length] || path[length] == '/');
}
static int known(int fd) { return fd >= 0 && fd < MOST && watched[fd]; }
static int known_folder(DIR *folder) {
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (folder && folders[i] == folder) return 1;
    return 0;
}
static void swap_folder(DIR *old, DIR *new) {
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (folders[i] == old) { folders[i] = new; return; }
}
static void watch(int fd) { if (fd >= 0 && fd < MOST) watched[fd] = 1; }
static void forget(int fd) { if (fd >= 0 && fd < MOST) watched[fd] = 0; }

/* Count a call that touches the directory, and say what is to happen to it. `kind` is 'r' or 'w' for those that can end
 * early, '1' for those that are not done when they report an error, 0 for all others. */
static int begin(const char *name, int touches, char kind) {
    if (!armed || !touches) return PASS;
    if (++count < MOST) trace[count] = name;
    int due = count == at;
    if (due) target = name;
    else if (count > at && at > 0)
        due = span == FROM_THERE_ON || (span == SUCH_CALLS && !strcmp(name, target));
    if (mode == SHORT_THEN_FAIL && applied && kind == 'w') return FAIL;
    if (!due || mode == PASS || (mode == SHORT && kind != 'r' && kind != 'w') || (mode == SHORT_THEN_FAIL && kind != 'w')) return PASS;
    applied++;
    if (mode == KILL_BEFORE) kill(getpid(), SIGKILL);
    return mode == FAIL_DONE && kind == '1' ? FAIL : mode;
}
static size_t half(int what, size_t length) {
    return (what == SHORT || what == SHORT_THEN_FAIL) && length > 1 ? length / 2 : length;
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })
/* One interposed call: `did` is what happens after the real one, with its `result`. */
#define CALL(type, name, parameters, arguments, touches, kind, failed, did)           \
    type name parameters {                                                            \
        int what = begin(#name, touches, kind);                                       \
        if (what == FAIL) { errno = number; return failed; }                          \
        type result = REAL(name) arguments;                                           \
        int saved = errno;                                                            \
        did;                                                                          \
        if (what == KILL_AFTER) kill(getpid(), SIGKILL);                              \
        errno = saved;                                                                \
        if (what == FAIL_DONE && result != failed) { errno = number; return failed; } \
        return result;                                                                \
    }
#define AT(fd, path) (below(path) || ((path)[0] != '/' && known(fd)))

/* Opening: what it opened and is then said to have failed is closed again, as a kernel would. */
#define OPEN(name, parameters, arguments, first, touches)                  \
    int name parameters {                                                  \
        int extra = 0;                                                     \
        va_list list;                                                      \
        va_start(list, first);                                             \
        if (flags & (O_CREAT | O_TMPFILE)) extra = va_arg(list, int);      \
        va_end(list);                                                      \
        int ours = touches;                                                \
        int what = begin(flags & O_CREAT ? "create" : #name, ours, 0);     \
        if (what == FAIL) { errno = number; return -1; }                   \
        int fd = REAL(name) arguments, saved = errno;                      \
        if (what == KILL_AFTER) kill(getpid(), SIGKILL);                   \
        if (what == FAIL_DONE && fd >= 0) {                                \
            REAL(close)(fd);                                               \
            errno = number;                                                \
            return -1;                                                     \
        }                                                                  \
        if (ours) watch(fd);                                               \
        errno = saved;                                                     \
        return fd;                                                         \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, extra), flags, below(path))
OPEN(open64, (const char *path, int flags, ...), (path, flags, extra), flags, below(path))
OPEN(openat, (int at_fd, const char *path, int flags, ...), (at_fd, path, flags, extra), flags, AT(at_fd, path))
OPEN(openat64, (int at_fd, const char *path, int flags, ...), (at_fd, path, flags, extra), flags, AT(at_fd, path))

/* A descriptor is closed also when closing reports an error. */
int close(int fd) {
    int what = begin("close", known(fd), 0);
    forget(fd);
    int result = REAL(close)(fd), saved = errno;
    if (what == KILL_AFTER) kill(getpid(), SIGKILL);
    errno = saved;
    if (what == FAIL || what == FAIL_DONE) { errno = number; return -1; }
    return result;
}

CALL(ssize_t, read, (int fd, void *to, size_t n), (fd, to, half(what, n)), known(fd), 'r', -1, )
CALL(ssize_t, pread, (int fd, void *to, size_t n, off_t o), (fd, to, half(what, n), o), known(fd), 'r', -1, )
CALL(ssize_t, pread64, (int fd, void *to, size_t n, off64_t o), (fd, to, half(what, n), o), known(fd), 'r', -1, )
CALL(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, half(what, n)), known(fd), 'w', -1, )
CALL(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t o), (fd, from, half(what, n), o), known(fd), 'w', -1, )
CALL(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t o), (fd, from, half(what, n), o), known(fd), 'w', -1, )

/* Of several pieces only the first, shortened. */
static const struct iovec *fewer(int what, const struct iovec *from, int *n, struct iovec *space) {
    if ((what != SHORT && what != SHORT_THEN_FAIL) || *n < 1) return from;
    *space = from[0], space->iov_len = half(what, space->iov_len), *n = 1;
    return space;
}
#define VECTOR(name, extra_parameters, extra_arguments, kind)                                               \
    CALL(ssize_t, name, (int fd, const struct iovec *from, int n extra_parameters),                         \
         (fd, fewer(what, from, &n, &(struct iovec){0}), n extra_arguments), known(fd), kind, -1, )
#define AND ,
VECTOR(readv, , , 'r')
VECTOR(writev, , , 'w')
VECTOR(preadv, AND off_t o, AND o, 'r')
VECTOR(preadv64, AND off64_t o, AND o, 'r')
VECTOR(preadv2, AND off_t o AND int f, AND o AND f, 'r')
VECTOR(preadv64v2, AND off64_t o AND int f, AND o AND f, 'r')
VECTOR(pwritev, AND off_t o, AND o, 'w')
VECTOR(pwritev64, AND off64_t o, AND o, 'w')
VECTOR(pwritev2, AND off_t o AND int f, AND o AND f, 'w')
VECTOR(pwritev64v2, AND off64_t o AND int f, AND o AND f, 'w')

CALL(int, rename, (const char *a, const char *b), (a, b), below(a) || below(b), 0, -1, )
CALL(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), AT(d, a) || AT(e, b), 0, -1, )
CALL(int, link, (const char *a, const char *b), (a, b), below(a) || below(b), 0, -1, )
CALL(int, linkat, (int d, const char *a, int e, const char *b, int f), (d, a, e, b, f), AT(d, a) || AT(e, b), 0, -1, )
CALL(int, symlink, (const char *a, const char *b), (a, b), below(b), 0, -1, )
CALL(int, unlink, (const char *path), (path), below(path), 0, -1, )
CALL(int, unlinkat, (int d, const char *path, int f), (d, path, f), AT(d, path), 0, -1, )
CALL(int, rmdir, (const char *path), (path), below(path), 0, -1, )
CALL(int, mkdir, (const char *path, mode_t bits), (path, bits), below(path), 0, -1, )
CALL(int, mkdirat, (int d, const char *path, mode_t bits), (d, path, bits), AT(d, path), 0, -1, )
CALL(int, chmod, (const char *path, mode_t bits), (path, bits), below(path), 0, -1, )
CALL(int, fchmod, (int fd, mode_t bits), (fd, bits), known(fd), 0, -1, )
CALL(int, access, (const char *path, int how), (path, how), below(path), 0, -1, )
CALL(int, faccessat, (int d, const char *path, int how, int f), (d, path, how, f), AT(d, path), 0, -1, )
CALL(int, fsync, (int fd), (fd), known(fd), 0, -1, )
CALL(int, fdatasync, (int fd), (fd), known(fd), 0, -1, )
CALL(int, ftruncate, (int fd, off_t n), (fd, n), known(fd), 0, -1, )
CALL(int, ftruncate64, (int fd, off64_t n), (fd, n), known(fd), 0, -1, )
CALL(int, flock, (int fd, int how), (fd, how), known(fd), 0, -1, )
CALL(int, futimens, (int fd, const struct timespec t[2]), (fd, t), known(fd), 0, -1, )
CALL(int, utimensat, (int d, const char *path, const struct timespec t[2], int f), (d, path, t, f),
     AT(d, path), 0, -1, )
CALL(int, stat, (const char *path, struct stat *to), (path, to), below(path), 0, -1, )
CALL(int, stat64, (const char *path, struct stat64 *to), (path, to), below(path), 0, -1, )
CALL(int, lstat, (const char *path, struct stat *to), (path, to), below(path), 0, -1, )
CALL(int, lstat64, (const char *path, struct stat64 *to), (path, to), below(path), 0, -1, )
CALL(int, fstat, (int fd, struct stat *to), (fd, to), known(fd), 0, -1, )
CALL(int, fstat64, (int fd, struct stat64 *to), (fd, to), known(fd), 0, -1, )
CALL(int, fstatat, (int d, const char *path, struct stat *to, int f), (d, path, to, f), AT(d, path), 0, -1, )
CALL(int, fstatat64, (int d, const char *path, struct stat64 *to, int f), (d, path, to, f), AT(d, path), 0, -1, )
CALL(int, statx, (int d, const char *restrict path, int f, unsigned m, struct statx *restrict to), (d, path, f, m, to),
     AT(d, path), 0, -1, )
CALL(int, statvfs, (const char *path, struct statvfs *to), (path, to), below(path), 0, -1, )
CALL(int, statvfs64, (const char *path, struct statvfs64 *to), (path, to), below(path), 0, -1, )
CALL(void *, mmap, (void *a, size_t n, int p, int f, int fd, off_t o), (a, n, p, f, fd, o), known(fd), '1', MAP_FAILED, )
CALL(void *, mmap64, (void *a, size_t n, int p, int f, int fd, off64_t o), (a, n, p, f, fd, o), known(fd), '1', MAP_FAILED, )
CALL(DIR *, opendir, (const char *path), (path), below(path), '1', NULL, if (result && below(path)) swap_folder(NULL, result))
CALL(DIR *, fdopendir, (int fd), (fd), known(fd), '1', NULL, if (result && known(fd)) swap_folder(NULL, result))
CALL(struct dirent *, readdir, (DIR *folder), (folder), known_folder(folder), '1', NULL, )
CALL(struct dirent64 *, readdir64, (DIR *folder), (folder), known_folder(folder), '1', NULL, )
int closedir(DIR *folder) {
    int what = begin("closedir", known_folder(folder), 0);
    swap_folder(folder, NULL);
    forget(dirfd(folder));
    int result = REAL(closedir)(folder);
    if (what == KILL_AFTER) kill(getpid(), SIGKILL);
    if (what == FAIL || what == FAIL_DONE) { errno = number; return -1; }
    return result;
}

/* Only what makes a second descriptor is of interest. */
#define FCNTL(name)                                                                              \
    int name(int fd, int command, ...) {                                                         \
        va_list list;                                                                            \
        va_start(list, command);                                                                 \
        void *argument = va_arg(list, void *);                                                   \
        va_end(list);                                                                            \
        int doubles = known(fd) && (command == F_DUPFD || command == F_DUPFD_CLOEXEC);           \
        int what = begin(#name, doubles, 0);                                                     \
        if (what == FAIL || what == FAIL_DONE) { errno = number; return -1; }                    \
        int result = REAL(name)(fd, command, argument);                                          \
        if (what == KILL_AFTER) kill(getpid(), SIGKILL);                                         \
        if (doubles) watch(result);                                                              \
        return result;                                                                           \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
