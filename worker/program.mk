# evq-worker; see common/program.mk.

$(eval $(call program,worker))
