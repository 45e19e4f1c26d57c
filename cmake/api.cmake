# SPDX-License-Identifier: Apache-2.0
# The agent protocol: api/*.proto -> culvert_api.
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
set(API_OUT ${CMAKE_BINARY_DIR}/generated/api)
file(MAKE_DIRECTORY ${API_OUT})
file(GLOB API_PROTOS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/api/*.proto)
set(API_SOURCES)
foreach(proto ${API_PROTOS})
  get_filename_component(stem ${proto} NAME_WE)
  add_custom_command(
    OUTPUT ${API_OUT}/${stem}.pb.cc ${API_OUT}/${stem}.pb.h ${API_OUT}/${stem}.grpc.pb.cc ${API_OUT}/${stem}.grpc.pb.h
    COMMAND protobuf::protoc --proto_path=${CMAKE_SOURCE_DIR}/api --cpp_out=${API_OUT} --grpc_out=${API_OUT}
            --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN} ${proto}
    DEPENDS ${proto} VERBATIM)
  list(APPEND API_SOURCES ${API_OUT}/${stem}.pb.cc ${API_OUT}/${stem}.grpc.pb.cc)
endforeach()
add_library(culvert_api STATIC ${API_SOURCES})
# generated code is not ours to warn about
target_compile_options(culvert_api PRIVATE -w)
target_include_directories(culvert_api SYSTEM PUBLIC ${CMAKE_BINARY_DIR}/generated)
target_include_directories(culvert_api SYSTEM PRIVATE ${API_OUT})
target_link_libraries(culvert_api PUBLIC ${CULVERT_LIBS_api})
