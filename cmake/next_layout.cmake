# SPDX-License-Identifier: Apache-2.0
# For tests alone: an agent whose maps have the layout that a later version might have, made from abi/maps.h as it is.
# build/<preset>/next/bin/culvert-agent is what tests upgrade to and downgrade from.
set(NEXT_OUT ${CMAKE_BINARY_DIR}/next)

function(culvert_add_next_layout)
  add_custom_command(
    OUTPUT ${NEXT_OUT}/include/abi/maps.h
    COMMAND ${CMAKE_COMMAND} -DIN=${CMAKE_SOURCE_DIR}/src/abi/maps.h -DOUT=${NEXT_OUT}/include/abi/maps.h
            -P ${CMAKE_SOURCE_DIR}/cmake/next_layout_header.cmake
    DEPENDS ${CMAKE_SOURCE_DIR}/src/abi/maps.h ${CMAKE_SOURCE_DIR}/cmake/next_layout_header.cmake VERBATIM)
  culvert_add_skeletons(culvert_bpf_next ${NEXT_OUT} ${NEXT_OUT}/include/abi/maps.h)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/datapath/*.cpp)
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  add_library(culvert_datapath_next STATIC ${sources})
  target_include_directories(culvert_datapath_next BEFORE PRIVATE ${NEXT_OUT}/include)
  target_include_directories(culvert_datapath_next PRIVATE ${CMAKE_SOURCE_DIR}/src)
  set(links)
  foreach(dep ${CULVERT_DEPS_datapath})
    list(APPEND links culvert_${dep})
  endforeach()
  target_link_libraries(culvert_datapath_next PRIVATE culvert_bpf_next ${links} ${CULVERT_LIBS_datapath})
  add_dependencies(culvert_datapath_next culvert_bpf_next_skeletons)
  # clang-tidy reads these sources once, as culvert_datapath's
  set_target_properties(culvert_datapath_next PROPERTIES EXPORT_COMPILE_COMMANDS OFF)

  # only datapath/ knows the structs: the rest of the agent is the one that was built anyway
  add_executable(culvert-agent-next ${CMAKE_SOURCE_DIR}/src/apps/culvert_agent.cpp)
  set_target_properties(culvert-agent-next PROPERTIES OUTPUT_NAME culvert-agent EXPORT_COMPILE_COMMANDS OFF
                        RUNTIME_OUTPUT_DIRECTORY ${NEXT_OUT}/bin)
  target_include_directories(culvert-agent-next PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(culvert-agent-next PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,culvert_datapath_next> culvert_agent)
endfunction()
