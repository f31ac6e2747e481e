# evq: an event engine inside PostgreSQL.  `make help` lists the targets.
#
# Building and installing is plain PGXS, so that packagers find what they
# expect.  The project's own targets (check, demo, lint, ...) work before
# PostgreSQL is installed, which PGXS cannot, and PGXS has a `check` of its own
# that refuses; so a run of make is either one or the other.

EXTENSION = evq
EVQ_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" evq.control)

# The parts of the install script, in the order of their numbers.
SQL_PARTS := $(sort $(basename $(notdir $(wildcard sql/parts/*.sql))))

# What an upgrade from the release before adds to sql/upgrades/: all parts, whose functions and views take the place of
# the old ones, but for those that hold what users have stored since before.  What changes in these is written by hand there.
UPGRADE_FROM = 0.2
LONG_UPGRADE_FROM = 0.1
STORED_PARTS = \
	010_schema \
	015_row_types \
	020_configuration \
	030_storage \
	032_housekeeping \
	034_pause \
	036_restriction \
	038_schedule
UPGRADE_PARTS = $(filter-out $(STORED_PARTS),$(SQL_PARTS))

# The tests that PGXS runs; test/run finds all by itself.
REGRESS := $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
ISOLATION := $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
TAP := $(sort $(notdir $(wildcard test/t/*.pl)))

# What test/names makes names of, without quotes.  A recipe with it begins with set -f.
TESTS = lint sql/* specs/* pgtap/* t/*
override TESTS := $(subst ",,$(subst ',,$(TESTS)))

ifndef PG_CONFIG
PG_CONFIG := $(shell scripts/pg-config)
endif
export PG_CONFIG

PROJECT_TARGETS = help check check-slow check-versions check-cassert check-dates check-mutants check-package check-newcomer dist demo bench lint format \
	dependencies server psql server-stop docs

ifneq (,$(filter $(PROJECT_TARGETS),$(MAKECMDGOALS)))

.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:

help:
	@echo 'make                build the extension and its programs'
	@echo 'make install        install it into the PostgreSQL that PG_CONFIG names'
	@echo 'make installcheck   run the tests that a running, configured server can run'
	@echo 'make check          install what is needed, lint, build, run all tests on throwaway servers'
	@echo 'make check TESTS="sql/fail race_* t/engine_*"'
	@echo '                    the same for these tests only, by name or wildcard; test/README.md says what there is'
	@echo 'make check-slow     the long-running tests'
	@echo 'make check-versions the tests on PostgreSQL 17 and 18, in folders of Debian releases that have them;'
	@echo '                    as root; VERSIONS=17 takes this one only'
	@echo 'make check-cassert  the tests on a PostgreSQL built with assertions, which this builds first; TESTS= as above'
	@echo 'make check-dates    tests that know the time, at the ends of months and years, on leap days and in the hours'
	@echo '                    when clocks are changed; TESTS= as above'
	@echo 'make check-mutants  make small wrong changes one by one, and name those that no test notices; MUTANTS=REGEX takes some,'
	@echo '                    JOBS=N does so many at a time, FRESH=1 those too that were noticed before'
	@echo 'make dist           pack the newest commit: evq-VERSION.tar.gz and .zip'
	@echo 'make check-package  build the Debian packages from that and test what is in them'
	@echo 'make check-newcomer as root: go the way from a clone to a tested change in a bare Debian, and say how long it took'
	@echo 'make demo           install what is needed and show evq at work on a throwaway server;'
	@echo '                    DEMO_OPTS=--help lists its options'
	@echo 'make server         build and start a throwaway server to try things on; again, after a change'
	@echo 'make psql           a session on it, with macros to look into evq'
	@echo 'make server-stop    stop and remove it'
	@echo 'make docs           write doc/functions.md anew from the comments in sql/parts'
	@echo 'make bench          install what is needed and measure evq beside its peers on a throwaway server;'
	@echo '                    METRIC=NAME measures one thing; bench/README.md has the rest'
	@echo 'make lint           format, layers, lists, versions, static analysis'
	@echo 'make format         format the C code'
	@echo 'make clean          remove everything that was built'
	@echo
	@echo 'Variables: PG_CONFIG=FILE  WERROR=1 (warnings are errors)  ASSERTS=1 (Assert() checks)  BUILD=FOLDER (instead of build)'

dependencies:
	@scripts/install-dependencies

check:
	@set -fe; needs=$$(test/names --needs $(TESTS)); scripts/install-dependencies $$needs
	+@set -f; test/run $(TESTS)

check-slow: override TESTS = t/slow/*
check-slow: check

check-versions:
	+@TESTS='$(TESTS)' scripts/check-versions $(VERSIONS)

check-cassert:
	+@TESTS='$(TESTS)' scripts/check-cassert

check-dates: dependencies
	+@TESTS='$(TESTS)' scripts/check-dates

check-mutants: dependencies
	+@scripts/mutants '$(or $(MUTANTS),.)'

dist:
	@scripts/dist

check-package:
	@scripts/install-dependencies debhelper postgresql-server-dev-all lintian build-essential debootstrap
	+@scripts/check-package

check-newcomer:
	@scripts/install-dependencies --for=build debootstrap
	@scripts/check-newcomer

demo:
	+@demo/run

server psql:
	@scripts/install-dependencies --for=build
	@scripts/server $(subst server,start,$@)

server-stop:
	@scripts/server stop

docs:
	@scripts/install-dependencies --for=build
	@scripts/docs

bench: dependencies
	+@bench/run

lint:
	@VERSION='$(EVQ_VERSION)' scripts/lint

format:
	@scripts/format

# Goals of the other kind, asked for in the same command.
$(filter-out $(PROJECT_TARGETS),$(MAKECMDGOALS)):
	+@$(MAKE) --no-print-directory $@

else

MODULE_big = evq
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
INSTALL_SCRIPT_SQL = sql/evq--$(EVQ_VERSION).sql
UPGRADE_SCRIPT_SQL = sql/evq--$(UPGRADE_FROM)--$(EVQ_VERSION).sql
LONG_UPGRADE_SCRIPT_SQL = sql/evq--$(LONG_UPGRADE_FROM)--$(EVQ_VERSION).sql
DATA = $(wildcard sql/releases/*.sql)
DATA_built = $(INSTALL_SCRIPT_SQL) $(UPGRADE_SCRIPT_SQL) $(LONG_UPGRADE_SCRIPT_SQL)

REGRESS_OPTS = --inputdir=test --load-extension=evq
ISOLATION_OPTS = --inputdir=test --outputdir=. --load-extension=evq
TAP_TESTS = 1
PROVE_TESTS = $(TAP:%=test/t/%)
EXTRA_CLEAN = asserts build $(realpath build/elsewhere) $(wildcard sql/evq--*.sql)

ifeq ($(WERROR),1)
# PostgreSQL's headers count as system headers: only our own code is judged.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
endif

# The checks of Assert(), in the server's headers too; the library can be loaded into any server.
ifeq ($(ASSERTS),1)
PG_CPPFLAGS += -DUSE_ASSERT_CHECKING
endif

PG_CPPFLAGS += -Isrc

# Each file is compiled anew when a header changes that it includes: the compiler writes which into FILE.d.
DEPENDENCIES = $(OBJS:.o=.d)
EXTRA_CLEAN += $(DEPENDENCIES)

.DEFAULT_GOAL = all
include common/program.mk gateway/program.mk worker/program.mk

# No bitcode for the JIT compiler: it would need clang, and inlines nothing here.
override with_llvm = no
# PostgreSQL's own way of keeping dependencies mixes up files of the same name in different folders.
override autodepend = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq (,$(wildcard $(PGXS)))
$(error "$(PG_CONFIG)" leads to no PostgreSQL development files: run scripts/install-dependencies or set PG_CONFIG)
endif
include $(PGXS)

$(OBJS): asserts
# What was compiled the other way is compiled anew.
.PHONY: force
asserts: force
	@echo '$(ASSERTS)' | cmp --quiet - $@ || echo '$(ASSERTS)' >$@
src/functions/inspect.o: override CPPFLAGS += -DEVQ_VERSION='"$(EVQ_VERSION)"'
src/functions/inspect.o: evq.control
$(OBJS): override CPPFLAGS += -MMD -MP

# Of the library only what the server looks up by name is seen from outside: so calls within it take no detour. Since 16
# PGXS sees to that, and to PGDLLEXPORT.
ifeq ($(MAJORVERSION),15)
$(OBJS): override CPPFLAGS += -DPGDLLEXPORT='__attribute__((visibility("default")))'
$(filter-out src/functions/%,$(OBJS)): override CFLAGS += -fvisibility=hidden
endif
-include $(DEPENDENCIES)

$(UPGRADE_SCRIPT_SQL): sql/upgrades/library.sql sql/upgrades/$(UPGRADE_FROM)--$(EVQ_VERSION).sql $(UPGRADE_PARTS:%=sql/parts/%.sql) evq.control Makefile
	{ printf '%s\n' '\echo Use "ALTER EXTENSION evq UPDATE" to load this file. \quit'; \
	  sed 's/^CREATE \(FUNCTION\|VIEW\)/CREATE OR REPLACE \1/' $(filter %.sql,$^); } > $@.tmp
	mv $@.tmp $@

# Both steps in one, which begins with a look at the library, and with the lock that the second one needs: the verbs take
# that of this table first, and so no session at work can be in the way of the rest.
$(LONG_UPGRADE_SCRIPT_SQL): sql/upgrades/library.sql sql/releases/evq--$(LONG_UPGRADE_FROM)--$(UPGRADE_FROM).sql $(UPGRADE_SCRIPT_SQL)
	{ printf '%s\n' '\echo Use "ALTER EXTENSION evq UPDATE" to load this file. \quit'; cat $<; \
	  printf '%s\n' 'LOCK TABLE evq.event IN ACCESS EXCLUSIVE MODE;'; \
	  grep -hv '^\\echo ' $(wordlist 2,3,$^); } > $@.tmp
	mv $@.tmp $@

$(INSTALL_SCRIPT_SQL): $(SQL_PARTS:%=sql/parts/%.sql) evq.control Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION evq" to load this file. \quit'; cat $(filter %.sql,$^); } > $@.tmp
	mv $@.tmp $@

endif
