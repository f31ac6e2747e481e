/*
 * malloc.c
 *		Preloaded into a server: lets an allocation of one of its processes fail.
 *
 * A test says which one in a file that all processes map; EVQ_FAULT_FILE names
 * it. Everything else is left to the C library.
 *
 * By hand, where the user "postgres" may read and write the folder (PID is that of
 * a session; its 101st allocation from now on fails):
 *
 *		cc -O1 -fPIC -shared -o malloc.so test/fault/malloc.c
 *		head -c 32 /dev/zero >fault && chmod a+rw fault
 *		LD_PRELOAD=$PWD/malloc.so EVQ_FAULT_FILE=$PWD/fault make server
 *		perl -e 'print pack "q4", PID, 100, 0, 0' | dd of=fault conv=notrunc
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Fault
{
	int64_t pid;       /* of the process that is meant; 0 = none */
	int64_t countdown; /* allocations that still succeed */
	int64_t lasts;     /* 0 = one fails, 1 = all from then on */
	int64_t failed;    /* so many did */
} Fault;

static volatile Fault *fault;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

__attribute__((constructor)) static void
map_file(void)
{
	const char *name = getenv("EVQ_FAULT_FILE");
	int file = name == NULL ? -1 : open(name, O_RDWR);
	void *mapped;

	if (file < 0)
		return;
	mapped = mmap(NULL, sizeof(Fault), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (mapped != MAP_FAILED)
		fault = mapped;
}

static int
must_fail(void)
{
	if (fault == NULL || fault->pid == 0 || fault->pid != getpid())
		return 0;
	if (fault->countdown > 0)
	{
		fault->countdown--;
		return 0;
	}
	if (fault->failed > 0 && !fault->lasts)
		return 0;
	fault->failed++;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return must_fail() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return must_fail() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *memory, size_t size)
{
	return must_fail() ? NULL : __libc_realloc(memory, size);
}
