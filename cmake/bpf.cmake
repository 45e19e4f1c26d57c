# SPDX-License-Identifier: Apache-2.0
# bpf/<name>.bpf.c -> <name>.skel.h. vmlinux.h comes from the running kernel's BTF (bookworm's headers lack BPF_TCX_*).
find_program(CLANG_BPF NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)
set(BPF_OUT ${CMAKE_BINARY_DIR}/generated/bpf)
file(MAKE_DIRECTORY ${BPF_OUT})
add_custom_command(
  OUTPUT ${BPF_OUT}/vmlinux.h
  COMMAND sh -c "${BPFTOOL} btf dump file /sys/kernel/btf/vmlinux format c > ${BPF_OUT}/vmlinux.h.tmp && mv ${BPF_OUT}/vmlinux.h.tmp ${BPF_OUT}/vmlinux.h"
  VERBATIM)
file(GLOB BPF_HEADERS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h ${CMAKE_SOURCE_DIR}/src/abi/*.h ${CMAKE_SOURCE_DIR}/src/abi/*.def)
file(GLOB BPF_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c)
set(BPF_SKELETONS)
foreach(src ${BPF_SOURCES})
  get_filename_component(stem ${src} NAME_WE)
  add_custom_command(
    OUTPUT ${BPF_OUT}/${stem}.bpf.o
    COMMAND ${CLANG_BPF} -target bpf -D__TARGET_ARCH_x86 -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter
            -Wno-missing-declarations -Wno-sign-compare -Werror -I${BPF_OUT} -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/bpf
            -c ${src} -o ${BPF_OUT}/${stem}.bpf.o
    DEPENDS ${src} ${BPF_HEADERS} ${BPF_OUT}/vmlinux.h VERBATIM)
  add_custom_command(
    OUTPUT ${BPF_OUT}/${stem}.skel.h
    COMMAND sh -c "${BPFTOOL} gen skeleton ${BPF_OUT}/${stem}.bpf.o name ${stem} > ${BPF_OUT}/${stem}.skel.h.tmp && mv ${BPF_OUT}/${stem}.skel.h.tmp ${BPF_OUT}/${stem}.skel.h"
    DEPENDS ${BPF_OUT}/${stem}.bpf.o VERBATIM)
  list(APPEND BPF_SKELETONS ${BPF_OUT}/${stem}.skel.h)
endforeach()
add_custom_target(bpf_skeletons DEPENDS ${BPF_SKELETONS})
add_library(culvert_bpf INTERFACE)
add_dependencies(culvert_bpf bpf_skeletons)
target_include_directories(culvert_bpf SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/generated)
